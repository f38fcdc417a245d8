# A value that goes there and back is three inputs, and the last one counts.
tools A B
A.jane name="Jane Doe" email=jane@x.com note=A
B.jane name="Jane Doe" email=jane@x.com
sync
A.jane note=B
sync
expect B.jane note=B
A.jane note=A
sync
expect B.jane note=A
