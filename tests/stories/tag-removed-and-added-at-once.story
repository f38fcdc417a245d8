# One takes a tag off while another, not knowing, adds another: each act counts for its own tag.
tools A B C D
A.jane name="Jane Doe" email=jane@x.com tags=vip,new
B.jane name="Jane Doe" email=jane@x.com
C.jane name="Jane Doe" email=jane@x.com
D.jane name="Jane Doe" email=jane@x.com
sync
A.jane tags=new
B.jane tags=vip,new,gold
sync
expect A.jane tags=gold,new
expect B.jane tags=gold,new
expect C.jane tags=gold,new
expect D.jane tags=gold,new
