# An edit of upper and lower case only reaches all, and is not undone by a tool that shouts.
tools A B(shouts) C D
A.jane name="Jane Doe" email=jane@x.com job_title="head of it"
B.jane name="Jane Doe" email=jane@x.com
C.jane name="Jane Doe" email=jane@x.com
D.jane name="Jane Doe" email=jane@x.com
sync
C.jane job_title="Head of IT"
sync
expect golden A.jane job_title="Head of IT"
expect A.jane job_title="Head of IT"
expect B.jane job_title="HEAD OF IT"
expect D.jane job_title="Head of IT"
