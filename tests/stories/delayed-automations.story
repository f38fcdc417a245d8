# Two automations answer each write with another number a moment later: braked after three hops.
tools A B
A.jane name="Jane Doe" email=jane@x.com phone="+1 202 555 0101"
B.jane name="Jane Doe" email=jane@x.com
sync
A.jane phone="+1 202 555 0102"
capture A
resolve
deliver B
B.jane phone="+1 202 555 0901"
capture B
resolve
deliver A
A.jane phone="+1 202 555 0902"
capture A
resolve
deliver B
B.jane phone="+1 202 555 0903"
capture B
resolve
expect A.jane phone is parked
