# Two were judged different; an edit that gives them one address does not bring them together.
tools A B C D
create C never
create D never
create A never
create B never
A.jane name="Jane Doe" email=jane@x.com phone="+1 202 555 0111"
B.jane name="Jane Doe" email=other@x.com phone="+1 202 555 0111"
sync
steward: A.jane is not B.jane
sync
B.jane email=jane@x.com
sync
expect A.jane is not B.jane
A.jane note=mine
sync
expect B.jane note=
