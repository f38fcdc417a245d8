# A record that was refused is merged away inside its tool: the refusal stays with the customer.
tools A B C D
create A never
A.jane name="Jane Doe" email=jane@x.com
A.joan name="Jane Doe" email=joan@x.com
B.jane name="Jane Doe" email=jane@x.com
sync
A.joan consent=out
sync
A.joan merges into A.jane
sync
expect golden A.jane consent=out
expect A.jane consent=out
expect B.jane consent=out
