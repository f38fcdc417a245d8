# Deliver reads after its intent and finds an edit: the edit is kept, the write called off.
tools A B
A.jane name="Jane Doe" email=jane@x.com note=one
B.jane name="Jane Doe" email=jane@x.com note=one
sync
A.jane note=two
capture A
resolve
B plans
B.jane note=typed
B reads
B sends
resolve
sync
expect B.jane note=typed
expect A.jane note=typed
