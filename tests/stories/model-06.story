# A value typed over again and again is closed: splitting one tool off brings nothing back.
tools A B C
A.jane name="Jane Doe" email=jane@x.com note=t11
B.jane name="Jane Doe" email=jane@x.com
C.jane name="Jane Doe" email=jane@x.com
sync
B.jane note=t12
sync
B.jane note=t13
sync
C.jane note=t14
sync
steward: A.jane is not B.jane
steward: B.jane is not C.jane
sync
expect A.jane is C.jane
expect A.jane is not B.jane
expect golden A.jane note=t14
expect C.jane note=t14
