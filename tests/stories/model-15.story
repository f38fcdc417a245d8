# Our create is seen by capture before its receipt: it makes no claims, nobody is doubled.
tools A B
A.jane name="Jane Doe" email=jane@x.com phone="+1 202 555 0103"
capture A
resolve
capture B
next write of B: answer lost
B plans-create
B sends
capture B
resolve
sync
expect somebody in B for A.jane
expect B of A.jane phone=+12025550103
A.jane phone="+1 202 555 0104"
sync
expect B of A.jane phone=+12025550104
