# A deleted record is created again only when somebody says so.
tools A B
A.jane name="Jane Doe" email=jane@x.com
B.jane name="Jane Doe" email=jane@x.com
sync
A.jane delete
sync
steward: recreate A.jane
sync
expect somebody in A for B.jane
