# A tool refuses a value: said once, shown, and the rest is written.
tools A B(refuses=title)
A.jane name="Jane Doe" email=jane@x.com
B.jane name="Jane Doe" email=jane@x.com
sync
count writes
A.jane job_title=Boss note=told
sync
expect B.jane note=told
expect B.jane job_title=
expect B.jane job_title is rejected
expect parked rejected
expect writes of B = 2
