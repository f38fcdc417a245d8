# The answer to a create is lost; somebody edits the new record before the hub finds it: an edit.
tools A B
A.jane name="Jane Doe" email=jane@x.com job_title=Boss
capture A
resolve
capture B
next write of B: answer lost
deliver B
resolve
B.B-1 job_title=Chief
wait 5
deliver B
resolve
sync
expect A.jane job_title=Chief
expect B.B-1 job_title=Chief
