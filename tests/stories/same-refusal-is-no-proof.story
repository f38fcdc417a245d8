# A write is lost; the refusal that was in it comes from the customer too: that proves no write.
tools A B
A.jane name="Jane Doe" email=jane@x.com note=old
B.jane name="Jane Doe" email=jane@x.com note=old
sync
A.jane note=new consent=out
capture A
resolve
next write of B: error before
deliver B
resolve
B.jane consent=out
sync
expect A.jane note=new
expect B.jane note=new
expect B.jane consent=out
