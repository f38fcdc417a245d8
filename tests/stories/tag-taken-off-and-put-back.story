# A tag taken off in one tool is put back in another that has seen it go: it is back everywhere.
tools A B C D
A.jane name="Jane Doe" email=jane@x.com tags=vip
B.jane name="Jane Doe" email=jane@x.com
C.jane name="Jane Doe" email=jane@x.com
D.jane name="Jane Doe" email=jane@x.com
sync
B.jane tags=
sync
expect A.jane tags=
D.jane tags=vip
sync
expect A.jane tags=vip
expect B.jane tags=vip
expect C.jane tags=vip
