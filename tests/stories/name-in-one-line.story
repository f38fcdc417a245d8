# A tool with one line for the name: the boundary that is known elsewhere is kept.
tools A B(one-line-name)
A.jane name="Jane Doe" email=jane@x.com
B.jane name="Jane Doe" email=jane@x.com
sync
B.jane name="Janet Doe"
sync
expect A.jane name="Janet Doe"
