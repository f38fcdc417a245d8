# A record that holds only our copies is not blanked because its customer once refused mail.
tools A B
A.jane name="Jane Doe" email=jane@x.com note=mine consent=out
sync
steward: A.jane is not B.B-1
sync
expect B.B-1 note=mine
expect parked unsupported
expect nobody in A for B.B-1
