# An opt-in that is not read yet must not come to cover a refusal that was given after it.
tools A B(lag=4 settle=8)
widens A B
A.jane name="Jane Doe" email=jane@x.com consent=out
B.jane name="Jane Doe" email=jane@x.com consent=out
sync
A.jane consent=
capture A
A.jane consent=out
B.jane consent=proof
capture A
resolve
deliver B
resolve
wait 9
resolve
sync
expect golden A.jane consent=out
