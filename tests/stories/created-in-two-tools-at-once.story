# The same person is created in two tools at once: one customer, no third record.
tools A B
sync
A.jane name="Jane Doe" email=jane@x.com note=fromA
B.jane name="Jane Doe" email=jane@x.com
sync
expect A.jane is B.jane
expect B.jane note=fromA
