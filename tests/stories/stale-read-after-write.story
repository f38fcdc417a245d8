# A lagging tool shows its old value after our write: that is no edit.
tools A B(lag=3 settle=7)
A.jane name="Jane Doe" email=jane@x.com note=one
B.jane name="Jane Doe" email=jane@x.com note=one
sync
A.jane note=two
capture A
resolve
deliver B
resolve
sweep B
resolve
expect golden A.jane note=two
sync
expect golden A.jane note=two
expect B.jane note=two
