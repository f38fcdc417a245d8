# An opt-in given before a refusal elsewhere does not lift it, whatever is agreed meanwhile.
tools A B(lag=4 settle=8)
A.jane name="Jane Doe" email=jane@x.com
B.jane name="Jane Doe" email=jane@x.com
sync
B.jane consent=proof
A.jane consent=out
capture A
resolve
deliver B
resolve
sync
expect golden A.jane consent=out
expect B.jane consent=out
