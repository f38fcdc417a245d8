# A tool that is down for a while gets the newest state when it is back; others do not wait.
tools A B C
A.jane name="Jane Doe" email=jane@x.com
B.jane name="Jane Doe" email=jane@x.com
C.jane name="Jane Doe" email=jane@x.com
sync
B is down
A.jane note=one
round
round
round
expect C.jane note=one
A.jane note=two
round
round
B is up
sync
expect B.jane note=two
