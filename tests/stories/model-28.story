# A tool upper-cases what we wrote; an edit there later is newer, not concurrent.
tools A B(shouts)
A.jane name="Jane Doe" email=jane@x.com job_title=boss
B.jane name="Jane Doe" email=jane@x.com
sync
expect B.jane job_title=BOSS
expect B.jane job_title is altered
B.jane job_title=Chief
sync
expect golden A.jane job_title=Chief
expect A.jane job_title=Chief
