# A refusal was given while two were one customer, who are told apart before any tool was told of
# it: whoever refused meant both.
tools A B C D
create A never
create B never
create C never
create D never
A.jane name="Jane Doe" email=jane@x.com
B.jane name="Jane Doe" email=jane@x.com
C.joan name="Joan Roe" email=joan@x.com
D.joan name="Joan Roe" email=joan@x.com
sync
steward: A.jane is C.joan
sync
D.joan consent=out
capture D
resolve
steward: A.jane is not C.joan
steward: B.jane is not C.joan
steward: A.jane is not D.joan
steward: B.jane is not D.joan
sync
expect A.jane is not C.joan
expect golden C.joan consent=out
expect golden A.jane consent=out
expect B.jane consent=out
