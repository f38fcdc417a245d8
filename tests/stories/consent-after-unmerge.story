# An opt-in proven for one of two customers does not stay with the other after they are told apart.
tools A B C D
create A never
create B never
create C never
create D never
widens A B C D
A.jane name="Jane Doe" email=jane@x.com
B.jane name="Jane Doe" email=jane@x.com
C.joan name="Joan Roe" email=joan@x.com
D.joan name="Joan Roe" email=joan@x.com
sync
C.joan consent=proof
steward: A.jane is C.joan
sync
expect golden A.jane consent=in
steward: A.jane is not C.joan
steward: B.jane is not C.joan
steward: A.jane is not D.joan
steward: B.jane is not D.joan
sync
expect golden C.joan consent=in
expect golden A.jane consent=
