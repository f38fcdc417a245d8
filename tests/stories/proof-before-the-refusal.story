# An opt-in was proven before the refusal: the refusal stands, in the tools that may be told too.
tools A B C D
widens A B C D
A.jane name="Jane Doe" email=jane@x.com
B.jane name="Jane Doe" email=jane@x.com
C.jane name="Jane Doe" email=jane@x.com
D.jane name="Jane Doe" email=jane@x.com
sync
A.jane consent=proof
sync
expect D.jane consent=in
B.jane consent=out
sync
expect golden A.jane consent=out
expect A.jane consent=out
expect C.jane consent=out
expect D.jane consent=out
