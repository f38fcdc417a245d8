# A customer who refused is created elsewhere with the refusal, never first without it.
tools A B C D
A.jane name="Jane Doe" email=jane@x.com tags=vip consent=out
count writes
sync
expect B of A.jane consent=out tags=vip
expect C of A.jane consent=out
expect D of A.jane consent=out
expect writes of B = 1
expect writes of D = 1
