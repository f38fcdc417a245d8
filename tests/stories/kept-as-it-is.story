# A steward decides once about a record that holds only our copies.
tools A B
A.jane name="Jane Doe" email=jane@x.com note=mine
sync
steward: A.jane is not B.B-1
sync
expect parked unsupported
steward: keep B.B-1
sync
expect nothing parked
expect B.B-1 note=mine
