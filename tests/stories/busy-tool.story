# A tool that is too busy gets the write a little later, once.
tools A B
A.jane name="Jane Doe" email=jane@x.com
B.jane name="Jane Doe" email=jane@x.com
sync
count writes
A.jane note=told
next write of B: busy
sync
expect B.jane note=told
expect writes of B = 2
