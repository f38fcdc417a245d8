# Nobody can say which of two records a lost create has made: both are taken in, none is made anew.
tools A B(no-external-ids)
A.jane name="Jane Doe" email=jane@x.com
capture A
capture B
resolve
next write of B: answer lost
wait 2
capture B
deliver B
resolve
B.jane2 name="Jane Doe" email=jane@x.com
count writes
sync
expect somebody in B for A.jane
expect writes of B = 0
