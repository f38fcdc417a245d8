# A person known by phone only is given an e-mail address in our copy elsewhere: by it a fourth
# tool's record is found to be the same customer.
tools A B C D
create D never
A.jane name="Jane Doe" phone="+1 202 555 0110"
sync
B.B-1 email=jane@x.com
sync
expect A.jane email=jane@x.com phone=+12025550110
expect C of A.jane email=jane@x.com
D.jane name="Jane Doe" email=jane@x.com tags=vip
sync
expect A.jane is D.jane
expect A.jane tags=vip
expect D.jane phone=+12025550110
