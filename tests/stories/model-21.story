# A superseded reading has its number; the old value typed again after our write is an edit.
tools A B
A.jane name="Jane Doe" email=jane@x.com note=X
B.jane name="Jane Doe" email=jane@x.com note=X
sync
A.jane note=Y
sync
expect B.jane note=Y
B.jane note=X
sync
expect A.jane note=X
