# Refused while two were one customer: after the split it holds for all records of both.
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
D.joan consent=out
sync
expect A.jane consent=out
steward: A.jane is not C.joan
steward: B.jane is not C.joan
steward: A.jane is not D.joan
steward: B.jane is not D.joan
sync
expect A.jane is not C.joan
expect A.jane is B.jane
expect golden A.jane consent=out
expect golden C.joan consent=out
expect B.jane consent=out
