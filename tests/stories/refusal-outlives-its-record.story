# A refusal given in a record that was deleted and unlinked still counts.
tools A B
widens A B
B.jane name="Jane Doe" email=jane@x.com
A.jane name="Jane Doe" email=jane@x.com
sync
B.jane consent=proof
sync
A.jane consent=out
sync
A.jane delete
sync
steward: unlink A.jane
sync
expect golden B.jane consent=out
expect B.jane consent=out
