# A proof and a refusal are given at once in two tools: nobody had seen the other, mail stays off.
tools A B C D
widens A B C D
A.jane name="Jane Doe" email=jane@x.com
B.jane name="Jane Doe" email=jane@x.com
C.jane name="Jane Doe" email=jane@x.com
D.jane name="Jane Doe" email=jane@x.com
sync
B.jane consent=out
A.jane consent=proof
sync
expect golden A.jane consent=out
expect A.jane consent=out
expect D.jane consent=out
