# Both tools type the same: what A types then is newer, not concurrent.
tools A B(skew=600)
A.jane name="Jane Doe" email=jane@x.com note=old
B.jane name="Jane Doe" email=jane@x.com
sync
A.jane note=same
B.jane note=same
sync
A.jane note=newest
sync
expect golden A.jane note=newest
expect B.jane note=newest
