# Deleting a record in its tool keeps what was typed there: nothing typed over comes back.
tools A B
A.jane name="Jane Doe" email=jane@x.com note=first
B.jane name="Jane Doe" email=jane@x.com
sync
B.jane note=second
sync
B.jane delete
sync
expect golden A.jane note=second
expect A.jane note=second
