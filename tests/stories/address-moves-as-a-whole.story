# An address is one value: parts of two addresses never mix.
tools A B
A.jane name="Jane Doe" email=jane@x.com address="1 Old Road|  |Leeds|  |LS1 1AA|GB"
B.jane name="Jane Doe" email=jane@x.com
sync
B.jane address="2 New Road|  |York|  |YO1 1AA|GB"
sync
expect A.jane address="2 New Road||York||YO1 1AA|GB"
