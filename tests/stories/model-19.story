# A merge leaves two records of one tool on one customer: both are written.
tools A B
A.jane name="Jane Doe" email=jane@x.com
A.j2 name="Jane Doe" email=other@x.com
B.jane name="Jane Doe" email=jane@x.com
sync
steward: A.jane is A.j2
sync
expect A.jane is A.j2
B.jane note=told
sync
expect A.jane note=told
expect A.j2 note=told
B.jane consent=out
sync
expect A.jane consent=out
expect A.j2 consent=out
