# A record is deleted, a newcomer has its address: it joins, nothing is created anew elsewhere.
tools A B
A.jane name="Jane Doe" email=jane@x.com
B.jane name="Jane Doe" email=jane@x.com
sync
A.jane delete
sync
expect parked departed
A.jane2 name="Jane Doe" email=jane@x.com note=again
sync
expect A.jane2 is B.jane
expect B.jane note=again
