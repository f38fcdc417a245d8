# A deletion is not propagated: it is shown, held, and nothing is recreated by itself.
tools A B
A.jane name="Jane Doe" email=jane@x.com
B.jane name="Jane Doe" email=jane@x.com
sync
A.jane delete
sync
expect parked departed
expect B.jane email=jane@x.com
expect nobody in A for B.jane
steward: keep A.jane
sync
expect nobody in A for B.jane
