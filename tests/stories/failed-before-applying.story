# A write failed before it was applied: read back, then written once more.
tools A B
A.jane name="Jane Doe" email=jane@x.com
B.jane name="Jane Doe" email=jane@x.com
sync
count writes
A.jane note=told
next write of B: error before
sync
expect B.jane note=told
expect writes of B = 2
