# A newcomer with the same address beside a standing link does not tear it.
tools A B
A.jane name="Jane Doe" email=jane@x.com
B.jane name="Jane Doe" email=jane@x.com
sync
A.jane2 name="Jane Doe" email=jane@x.com
sync
expect A.jane is B.jane
expect A.jane2 is not B.jane
A.jane email=jane.new@x.com
sync
expect A.jane is B.jane
expect B.jane email=jane.new@x.com
