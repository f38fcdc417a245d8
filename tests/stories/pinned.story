# A steward pins a value: no edit in any tool changes it.
tools A B
A.jane name="Jane Doe" email=jane@x.com note=one
B.jane name="Jane Doe" email=jane@x.com
sync
steward: pin A.jane note=pinned
sync
expect A.jane note=pinned
expect B.jane note=pinned
B.jane note=typed
sync
expect B.jane note=pinned
