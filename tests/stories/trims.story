# White space around a value is nobody's edit: what a tool trims has not changed.
tools A B
A.jane name="Jane Doe" email=jane@x.com note="  padded  "
B.jane name="Jane Doe" email=jane@x.com
sync
expect golden A.jane note=padded
expect B.jane note=padded
count writes
A.jane note="padded "
sync
expect writes of A = 0
expect writes of B = 0
