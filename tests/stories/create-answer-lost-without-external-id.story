# The same in a tool without a place for our id: adopted by its values.
tools A B(no-external-ids)
A.jane name="Jane Doe" email=jane@x.com
next write of B: answer lost
sync
expect somebody in B for A.jane
