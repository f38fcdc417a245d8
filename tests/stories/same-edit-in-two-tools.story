# The same edit made in two tools needs no write at all.
tools A B
A.jane name="Jane Doe" email=jane@x.com note=old
B.jane name="Jane Doe" email=jane@x.com note=old
sync
count writes
A.jane note=new
B.jane note=new
sync
expect golden A.jane note=new
expect writes of A = 0
