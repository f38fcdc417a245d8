# After merge and split, a new create has an external id of its own: nobody is overwritten.
tools A B
A.jane name="Jane Doe" email=jane@x.com note=jane
A.joan name="Joan Roe" email=joan@x.com note=joan
sync
steward: A.jane is A.joan
sync
steward: A.jane is not A.joan
sync
expect A.jane is not A.joan
expect golden A.jane note=jane
expect golden A.joan note=joan
expect B of A.jane note=jane
expect B of A.joan note=joan
