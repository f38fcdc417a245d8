# Both tools type the same: what A types then is newer, not concurrent, though its clock is behind.
tools A(skew=-600) B
A.jane name="Jane Doe" email=jane@x.com note=old
B.jane name="Jane Doe" email=jane@x.com note=old
sync
A.jane note=same
B.jane note=same
sync
A.jane note=newest
sync
expect golden A.jane note=newest
expect B.jane note=newest
