# A steward corrects a value; a later edit in a tool is newer.
tools A B
A.jane name="Jane Doe" email=jane@x.com note=one
B.jane name="Jane Doe" email=jane@x.com
sync
steward: edit A.jane note=corrected
sync
expect B.jane note=corrected
B.jane note=later
sync
expect golden A.jane note=later
