# A merge is believed whatever the revisions of the two records were.
tools A(conditional revisions) B
A.jane name="Jane Doe" email=jane@x.com
A.joan name="Joan Roe" email=joan@x.com
sync
A.joan merges into A.jane
sync
expect A.jane is A.joan
