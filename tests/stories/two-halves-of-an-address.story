# Two people edit two halves of one address at once: the later address holds whole, nothing mixes.
tools A B C D
A.jane name="Jane Doe" email=jane@x.com
B.jane name="Jane Doe" email=jane@x.com
C.jane name="Jane Doe" email=jane@x.com address="1 Old Road|  |Leeds|  |LS1 1AA|GB"
D.jane name="Jane Doe" email=jane@x.com
sync
A.jane address="2 New Road|  |Leeds|  |LS1 1AA|GB"
B.jane address="1 Old Road|  |York|  |YO1 1AA|GB"
sync
expect A.jane address="1 Old Road||York||YO1 1AA|GB"
expect B.jane address="1 Old Road||York||YO1 1AA|GB"
expect D.jane address="1 Old Road||York||YO1 1AA|GB"
