# What a person typed while a write was on its way is read again once the write has ended.
tools A B(refuses=title)
A.jane name="Jane Doe" email=jane@x.com
B.jane name="Jane Doe" email=jane@x.com
sync
A.jane job_title=Boss
capture A
resolve
B plans
B reads
B.jane note=typed
capture B
resolve
B sends
resolve
sync
expect A.jane note=typed
