# An e-mail address is changed and changed back: one customer all along, nobody is made anew.
tools A B C D
A.jane name="Jane Doe" email=jane@x.com
B.jane name="Jane Doe" email=jane@x.com
C.jane name="Jane Doe" email=jane@x.com
D.jane name="Jane Doe" email=jane@x.com
sync
count writes
B.jane email=jane.new@x.com
sync
expect D.jane email=jane.new@x.com
C.jane email=jane@x.com
sync
expect A.jane email=jane@x.com
expect B.jane email=jane@x.com
expect A.jane is D.jane
expect writes of A = 2
expect writes of D = 2
