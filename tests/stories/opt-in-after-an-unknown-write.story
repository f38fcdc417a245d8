# A write of unknown outcome carried a refusal: an opt-in found there may be older, and lifts nothing.
tools A B
widens A B
A.jane name="Jane Doe" email=jane@x.com note=X
B.jane name="Jane Doe" email=jane@x.com note=X
sync
A.jane note=Y consent=out
capture A
resolve
next write of B: error before
deliver B
resolve
B.jane note=Y consent=proof
sync
expect golden A.jane consent=out
