# Cleared is a statement, absent is none: only what a person clears is cleared elsewhere.
tools A B
A.jane name="Jane Doe" email=jane@x.com note=here job_title=Boss
B.jane name="Jane Doe" email=jane@x.com
sync
expect B.jane note=here job_title=Boss
A.jane note=
sync
expect B.jane note= job_title=Boss
