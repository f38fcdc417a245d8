# B typed over a value and lost: it is written back, not called a conflict for ever.
tools A B
rule job_title authority A B
A.jane name="Jane Doe" email=jane@x.com job_title=Boss
B.jane name="Jane Doe" email=jane@x.com
sync
expect B.jane job_title=Boss
B.jane job_title=Clerk
sync
expect B.jane job_title=Boss
expect B.jane job_title is agree
