# A lagging tool is read too soon: no phantom claims.
tools A B(lag=3 settle=7)
A.jane name="Jane Doe" email=jane@x.com
B.jane name="Jane Doe" email=jane@x.com note=t2
sync
B.jane note=
wait 1
B.jane note=t11
capture B
resolve
wait 1
capture B
resolve
sync
expect golden A.jane note=t11
expect A.jane note=t11
