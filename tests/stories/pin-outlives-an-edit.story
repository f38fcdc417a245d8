# A pinned value stands against an edit in the very record that it hangs on.
tools A B
A.jane name="Jane Doe" email=jane@x.com note=one
B.jane name="Jane Doe" email=jane@x.com note=one
sync
steward: pin A.jane note=pinned
sync
A.jane note=typed
sync
expect golden A.jane note=pinned
expect A.jane note=pinned
expect B.jane note=pinned
