# Somebody unsubscribes in a tool that the hub cannot reach, and a proof came before it was heard.
tools A B C D
widens A B C D
A.jane name="Jane Doe" email=jane@x.com
B.jane name="Jane Doe" email=jane@x.com
C.jane name="Jane Doe" email=jane@x.com
D.jane name="Jane Doe" email=jane@x.com
sync
C is down
C.jane consent=out
round
A.jane consent=proof
round
round
C is up
wait 120
sync
expect golden A.jane consent=out
expect A.jane consent=out
expect B.jane consent=out
expect C.jane consent=out
expect D.jane consent=out
