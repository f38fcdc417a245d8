# Two records are merged inside a tool that counts revisions: the one that is left is written.
tools A B(conditional revisions)
A.jane name="Jane Doe" email=jane@x.com
B.jane name="Jane Doe" email=jane@x.com note=first
B.joan name="Joan Roe" email=joan@x.com note=other
sync
B.joan merges into B.jane
sync
expect B.joan is B.jane
A.jane note=told
sync
expect B.jane note=told
