# A person known by phone only is given an e-mail address in another tool: one customer, all four.
tools A B C D
A.jane name="Jane Doe" phone="+1 202 555 0110"
sync
B.B-1 email=jane@x.com
sync
expect A.jane email=jane@x.com phone=+12025550110
expect C of A.jane email=jane@x.com
D.jane name="Jane Doe" email=jane@x.com tags=vip
sync
expect A.jane email=jane@x.com
