# Refused after two customers were told apart: it says nothing about the other one.
tools A B C D
A.jane name="Jane Doe" email=jane@x.com
B.jane name="Jane Doe" email=jane@x.com
C.joan name="Joan Roe" email=joan@x.com
D.joan name="Joan Roe" email=joan@x.com
create A never
create B never
create C never
create D never
sync
steward: A.jane is C.joan
sync
steward: A.jane is not C.joan
steward: B.jane is not C.joan
steward: A.jane is not D.joan
steward: B.jane is not D.joan
sync
A.jane consent=out
sync
expect B.jane consent=out
expect golden C.joan consent=
expect D.joan consent=
