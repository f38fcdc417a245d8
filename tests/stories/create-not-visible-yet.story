# A lagging tool does not show yet what a create of unknown outcome has made: that proves nothing.
tools A B(lag=3 settle=6)
A.jane name="Jane Doe" email=jane@x.com note=mine
capture A
capture B
resolve
wait 5
capture B
next write of B: answer lost
deliver B
resolve
capture B
resolve
wait 2
sync
expect somebody in B for A.jane
expect B of A.jane note=mine
A.jane note=edited
sync
expect B of A.jane note=edited
