# A refusal given while two were one counts for both after a split.
tools A B
A.jane name="Jane Doe" email=jane@x.com
B.jane name="Jane Doe" email=jane@x.com
sync
A.jane consent=out
sync
expect B.jane consent=out
steward: A.jane is not B.jane
sync
expect A.jane is not B.jane
expect golden B.jane consent=out
expect B.jane consent=out
