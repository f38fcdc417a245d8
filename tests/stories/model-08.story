# A write was applied, its answer lost; a reading shows it, then a person types the old value back.
tools A B(settle=5)
A.jane name="Jane Doe" email=jane@x.com note=X
B.jane name="Jane Doe" email=jane@x.com note=X
sync
A.jane note=Y
capture A
resolve
next write of B: answer lost
deliver B
resolve
expect B.jane note=Y
capture B
resolve
B.jane note=X
sync
expect A.jane note=X
expect B.jane note=X
