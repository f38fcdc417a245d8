# Elements of a set are added and removed one by one, in both directions.
tools A B
A.jane name="Jane Doe" email=jane@x.com tags=vip,new
B.jane name="Jane Doe" email=jane@x.com tags=old
sync
expect A.jane tags=new,old,vip
expect B.jane tags=new,old,vip
B.jane tags=old,vip
sync
expect A.jane tags=old,vip
A.jane tags=old,vip,extra
sync
expect B.jane tags=extra,old,vip
expect golden A.jane tags=extra,old,vip
