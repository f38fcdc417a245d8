# An opt-in, proven or not, is never sent with a create: a new record starts without permission.
tools A B C D
A.jane name="Jane Doe" email=jane@x.com consent=proof
A.joan name="Joan Roe" email=joan@x.com consent=in
sync
expect golden A.jane consent=in
expect B of A.jane consent=
expect golden A.joan consent=
expect C of A.joan consent=
