# "Consent in" is on its way; a refusal comes before it is sent: the refusal is sent in its place.
tools A B C
widens A B C
A.jane name="Jane Doe" email=jane@x.com
B.jane name="Jane Doe" email=jane@x.com
C.jane name="Jane Doe" email=jane@x.com
sync
A.jane consent=proof
capture A
resolve
count writes
B plans
C.jane consent=out
capture C
resolve
B reads
B sends
expect writes of B = 1
expect B.jane consent=out
resolve
sync
expect golden A.jane consent=out
expect B.jane consent=out
