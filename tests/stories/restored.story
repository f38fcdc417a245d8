# A deleted record comes back: nobody has to decide any more, and it is written again.
tools A B
A.jane name="Jane Doe" email=jane@x.com
B.jane name="Jane Doe" email=jane@x.com
sync
B.jane delete
sync
A.jane note=meanwhile
sync
B.jane name="Jane Doe" email=jane@x.com
sync
expect B.jane note=meanwhile
