# A customer without an address is created elsewhere, and found again by our own id.
tools A B
A.jane name="Jane Doe" phone="+1 202 555 0111"
sync
expect B of A.jane phone=+12025550111
A.jane phone="+1 202 555 0112"
sync
expect B of A.jane phone=+12025550112
