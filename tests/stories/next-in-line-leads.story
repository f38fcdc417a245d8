# When the leading record goes, the one that leads now gets the field that is unique in its tool.
tools A(unique) B
A.jane name="Jane Doe" email=jane@x.com
A.j2 name="Jane Doe" email=other@x.com
B.jane name="Jane Doe" email=jane@x.com
sync
steward: A.jane is A.j2
sync
B.jane email=new@x.com
sync
A.jane delete
sync
expect A.j2 email=new@x.com
expect A.j2 email is agree
