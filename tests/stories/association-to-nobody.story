# A person names a company that the tool does not show: nothing rests on it.
tools A B
A.jane name="Jane Doe" email=jane@x.com firm=ghost
sync
sweep A
sync
expect B of A.jane name="Jane Doe"
