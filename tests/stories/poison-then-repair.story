# A damaged input blocks its own record only, until a reading supersedes it.
tools A B
A.jane name="Jane Doe" email=jane@x.com
A.bob name="Bob Roe" email=bob@x.com
sync
A.jane phone="+1 202 555 0101"
A.bob phone="+1 202 555 0102"
capture A
A.jane poisoned
sync
expect parked input
expect B of A.bob phone=+12025550102
expect golden A.jane phone=
replay input
sync
expect B of A.jane phone=+12025550101
