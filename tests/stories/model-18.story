# A real edit elsewhere beats an older value of a first snapshot, whatever the rank.
tools A B
A.jane name="Jane Doe" email=jane@x.com note=snapshot
B.jane name="Jane Doe" email=jane@x.com
capture A
capture B
resolve
wait 5
B.jane note=edited
sync
expect golden A.jane note=edited
expect A.jane note=edited
