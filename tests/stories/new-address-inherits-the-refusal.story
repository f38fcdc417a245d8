# Whoever refused mail and gives a new address has refused mail: an address is no permission.
tools A B C D
A.jane name="Jane Doe" email=jane@x.com
B.jane name="Jane Doe" email=jane@x.com
C.jane name="Jane Doe" email=jane@x.com
sync
A.jane consent=out
sync
B.jane email=jane.new@x.com
sync
expect golden A.jane consent=out email=jane.new@x.com
expect C.jane consent=out email=jane.new@x.com
expect D of A.jane consent=out
