# Retracting a claim brings back the one before.
tools A B
A.jane name="Jane Doe" email=jane@x.com note=right
B.jane name="Jane Doe" email=jane@x.com
sync
A.jane note=wrong
sync
expect B.jane note=wrong
steward: retract A.jane note
sync
expect golden A.jane note=right
expect B.jane note=right
