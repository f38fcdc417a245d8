# A's phone was empty, the merge filled it from B; after the split the copy is taken back.
tools A B
A.jane name="Jane Doe" email=jane@x.com
B.jane name="Jane Doe" email=jane@x.com phone="+1 202 555 0102"
sync
expect A.jane phone=+12025550102
steward: A.jane is not B.jane
sync
expect A.jane is not B.jane
expect A.jane phone=
expect B.jane phone=+12025550102
