# A record that a tool refused is offered again when it is something else, and not before.
tools A B(refuses=title)
A.jane name="Jane Doe" email=jane@x.com job_title=Boss
sync
expect nobody in B for A.jane
count writes
sync
expect writes of B = 0
A.jane job_title=
sync
expect somebody in B for A.jane
