# The answer is lost, and nothing but our id tells that the new record is ours.
tools A B
A.jane name="Jane Doe" phone="+1 202 555 0115"
next write of B: answer lost
sync
expect somebody in B for A.jane
A.jane note=told
sync
expect B of A.jane note=told
