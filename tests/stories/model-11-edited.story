# Whose address is edited to somebody else's does not take their standing link.
tools A B
create A never
create B never
A.anna name="Jane Doe" email=anna@x.com
A.jane name="Jane Doe" email=jane@x.com
B.jane name="Jane Doe" email=jane@x.com
sync
A.anna email=jane@x.com
sync
expect A.jane is B.jane
expect A.anna is not B.jane
