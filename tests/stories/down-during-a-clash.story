# Two edits clash while a third tool is down: back again, it gets the outcome, in one write.
tools A B C D
A.jane name="Jane Doe" email=jane@x.com note=old
B.jane name="Jane Doe" email=jane@x.com
C.jane name="Jane Doe" email=jane@x.com
D.jane name="Jane Doe" email=jane@x.com
sync
C is down
A.jane note=one
B.jane note=two
round
round
expect D.jane note=two
C is up
wait 120
count writes
sync
expect C.jane note=two
expect writes of C = 1
