# A proof that lifts nothing where it was first seen lifts nothing where it turns up later.
tools A B
widens A B
A.jane name="Jane Doe" email=jane@x.com
B.jane name="Jane Doe" email=jane@x.com
sync
B.jane consent=proof:p
sync
A.jane consent=out
sync
B.jane consent=out
sync
A.jane consent=proof:p
sync
expect golden A.jane consent=out
