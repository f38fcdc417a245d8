# Unlinking a deleted record takes back what was typed there.
tools A B
A.jane name="Jane Doe" email=jane@x.com note=typed
B.jane name="Jane Doe" email=jane@x.com
sync
expect B.jane note=typed
A.jane delete
sync
expect B.jane note=typed
steward: unlink A.jane
sync
expect B.jane note=
