# A refusal given in one of four tools reaches the other three, and nothing else of them changes.
tools A B C D
A.jane name="Jane Doe" email=jane@x.com tags=vip
B.jane name="Jane Doe" email=jane@x.com
C.jane name="Jane Doe" email=jane@x.com
D.jane name="Jane Doe" email=jane@x.com
sync
count writes
C.jane consent=out
sync
expect A.jane consent=out tags=vip
expect B.jane consent=out tags=vip
expect D.jane consent=out tags=vip
expect writes of A = 1
expect writes of B = 1
expect writes of C = 0
expect writes of D = 1
