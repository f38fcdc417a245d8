# Two records are merged inside a tool: one customer, and both ids lead to it.
tools A B
A.jane name="Jane Doe" email=jane@x.com
A.joan name="Joan Roe" email=joan@x.com
sync
A.joan merges into A.jane
sync
expect A.jane is A.joan
A.jane note=merged
sync
expect B of A.jane note=merged
