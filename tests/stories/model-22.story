# "Consent in" is on its way; a refusal comes before it is sent: it is not sent.
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
expect writes of B = 0
resolve
sync
expect golden A.jane consent=out
expect B.jane consent=out
