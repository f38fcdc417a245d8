# "Unknown" is what people type where they know nothing: it stays where it is.
tools A B C D
A.jane name="Jane Doe" email=jane@x.com job_title=Boss
B.jane name="Jane Doe" email=jane@x.com
C.jane name="Jane Doe" email=jane@x.com
D.jane name="Jane Doe" email=jane@x.com
sync
B.jane job_title=Unknown note=N/A
sync
expect golden A.jane job_title=Boss note=
expect A.jane job_title=Boss note=
expect B.jane job_title=Unknown
expect B.jane job_title is quarantined
expect D.jane job_title=Boss note=
