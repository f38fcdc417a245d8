# Somebody unsubscribes in one tool: everywhere, and no "subscribed" without proof lifts it.
tools A B C
A.jane name="Jane Doe" email=jane@x.com
B.jane name="Jane Doe" email=jane@x.com
C.jane name="Jane Doe" email=jane@x.com
sync
B.jane consent=out
sync
expect A.jane consent=out
expect C.jane consent=out
C.jane consent=in
sync
expect C.jane consent=out
expect golden A.jane consent=out
