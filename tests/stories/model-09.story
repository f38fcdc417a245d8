# A refusal in a tool whose clock is behind is not widened by a later clock elsewhere.
tools A(skew=-600) B
A.jane name="Jane Doe" email=jane@x.com
B.jane name="Jane Doe" email=jane@x.com
sync
B.jane consent=proof
A.jane consent=out
sync
expect golden A.jane consent=out
expect B.jane consent=out
