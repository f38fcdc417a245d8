# A tool says yes and keeps its old value: not sent again, and shown as ignored.
tools A B(ignores=title)
count writes
A.jane name="Jane Doe" email=jane@x.com job_title=Boss
B.jane name="Jane Doe" email=jane@x.com
sync
expect B.jane job_title=
expect B.jane job_title is ignored
expect writes of B = 1
