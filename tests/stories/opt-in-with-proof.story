# A proven opt-in lifts the refusal that it has seen; other tools are told only where allowed.
tools A B C
widens C
A.jane name="Jane Doe" email=jane@x.com
B.jane name="Jane Doe" email=jane@x.com
C.jane name="Jane Doe" email=jane@x.com
sync
A.jane consent=out
sync
A.jane consent=proof
sync
expect golden A.jane consent=in
expect B.jane consent=out
expect C.jane consent=in
