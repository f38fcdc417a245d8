# A tool upper-cases what we wrote; once that is agreed to, an edit there is newer, not concurrent.
tools A B(shouts skew=-600) C
create C never
A.jane name="Jane Doe" email=jane@x.com job_title=boss
B.jane name="Jane Doe" email=jane@x.com
sync
expect B.jane job_title is altered
C.jane name="Jane Doe" email=jane@x.com job_title=boss
sync
B.jane job_title=Chief
sync
expect golden A.jane job_title=Chief
expect A.jane job_title=Chief
