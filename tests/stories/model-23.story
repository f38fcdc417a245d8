# Deliver reads after its intent and finds an edit: the edit is kept, the write called off.
tools A B
A.jane name="Jane Doe" email=jane@x.com note=one
B.jane name="Jane Doe" email=jane@x.com note=one
sync
A.jane note=two
capture A
resolve
B plans
B.jane job_title=Typed
B reads
B sends
resolve
sync
expect B.jane job_title=Typed note=two
expect A.jane job_title=Typed note=two
