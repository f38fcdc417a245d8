# One of three tools refuses a customer: the two others have it, and edits go on between them.
tools A B C(refuses=title) D
A.jane name="Jane Doe" email=jane@x.com job_title=Boss
sync
expect nobody in C for A.jane
expect B of A.jane job_title=Boss
D.D-1 note=told
sync
expect A.jane note=told
expect B of A.jane note=told
A.jane job_title=
sync
expect C of A.jane note=told
