# After a split the versions are equal and the values differ: values are compared.
tools A B C
rule note authority C A B
A.jane name="Jane Doe" email=jane@x.com note=mine
B.jane name="Jane Doe" email=jane@x.com
C.jane name="Jane Doe" email=jane@x.com note=theirs
sync
expect A.jane note=theirs
steward: A.jane is not C.jane
steward: B.jane is not C.jane
sync
expect A.jane note=mine
expect B.jane note=mine
expect C.jane note=theirs
