# Two records of one tool have the address: the first keeps the link, the other is created nowhere.
tools A B
A.jane name="Jane Doe" email=jane@x.com
sync
A.jane2 name="Jane Doe" email=jane@x.com
sync
expect A.jane is not A.jane2
expect somebody in B for A.jane
expect nobody in B for A.jane2
