# The answer to a create is lost: it is found by our id, never created twice.
tools A B
A.jane name="Jane Doe" email=jane@x.com
count writes
next write of B: answer lost
sync
expect somebody in B for A.jane
expect writes of B = 1
A.jane note=told
sync
expect B of A.jane note=told
