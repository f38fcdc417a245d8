# The hub wrote Y; a person typed Z and then Y again: that Y is theirs, and stays.
tools A B
A.jane name="Jane Doe" email=jane@x.com note=Y
B.jane name="Jane Doe" email=jane@x.com
sync
expect B.jane note=Y
B.jane note=Z
capture B
resolve
B.jane note=Y
sync
expect A.jane note=Y
expect B.jane note=Y
