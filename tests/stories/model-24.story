# A person types the very value that we were about to send: it is theirs, nothing was sent.
tools A B
A.jane name="Jane Doe" email=jane@x.com note=one
B.jane name="Jane Doe" email=jane@x.com note=one
sync
count writes
A.jane note=two
capture A
resolve
B plans
B.jane note=two
B reads
B sends
resolve
sync
expect writes of B = 0
expect golden A.jane note=two
