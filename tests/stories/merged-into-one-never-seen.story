# A record is merged into one that the hub has not read yet: its revisions begin anew with its id.
tools A B(conditional revisions)
B.jane name="Jane Doe" email=jane@x.com
sync
B.jane note=one
B.jane note=two
sync
B.jane note=more
sync
B.jane note=most
sync
B.joan name="Joan Roe" email=joan@x.com
B.jane merges into B.joan
sync
B.joan note=three
sync
expect A.A-1 note=three
