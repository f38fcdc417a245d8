# Two people add one tag: it is there once, and one removal that has seen both takes it off.
tools A B C D
A.jane name="Jane Doe" email=jane@x.com
B.jane name="Jane Doe" email=jane@x.com
C.jane name="Jane Doe" email=jane@x.com
D.jane name="Jane Doe" email=jane@x.com
sync
count writes
A.jane tags=vip
B.jane tags=vip
sync
expect golden A.jane tags=vip
expect writes of A = 0
expect writes of B = 0
C.jane tags=
sync
expect A.jane tags=
expect B.jane tags=
expect D.jane tags=
