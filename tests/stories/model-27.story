# A split-off record that holds only our copies is not blanked: a person decides.
tools A B
A.jane name="Jane Doe" email=jane@x.com note=mine
sync
expect B of A.jane note=mine
steward: A.jane is not B.B-1
sync
expect B.B-1 note=mine
expect parked unsupported
