# A person has just made the same customer there, read but not resolved yet: no second one is made.
tools A B
sync
A.jane name="Jane Doe" email=jane@x.com
capture A
resolve
B.jane name="Jane Doe" email=jane@x.com
capture B
count writes
deliver B
resolve
sync
expect writes of B = 0
expect A.jane is B.jane
