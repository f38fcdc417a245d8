# All tags are taken off in one tool: they go everywhere, and only those that were seen there.
tools A B C D
A.jane name="Jane Doe" email=jane@x.com tags=vip,new
B.jane name="Jane Doe" email=jane@x.com tags=old
C.jane name="Jane Doe" email=jane@x.com
D.jane name="Jane Doe" email=jane@x.com
sync
expect D.jane tags=new,old,vip
B.jane tags=
C.jane tags=new,old,vip,fresh
sync
expect golden A.jane tags=fresh
expect A.jane tags=fresh
expect B.jane tags=fresh
expect D.jane tags=fresh
