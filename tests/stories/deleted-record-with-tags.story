# A record with a tag is deleted in its tool: the tag stays elsewhere; a record made anew gets it.
tools A B C D
create A never
A.jane name="Jane Doe" email=jane@x.com tags=vip
B.jane name="Jane Doe" email=jane@x.com
C.jane name="Jane Doe" email=jane@x.com
D.jane name="Jane Doe" email=jane@x.com
sync
A.jane delete
sync
expect parked departed
expect B.jane tags=vip
A.jane2 name="Jane Doe" email=jane@x.com
sync
expect A.jane2 is B.jane
expect A.jane2 tags=vip
