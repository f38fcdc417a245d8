# Asked and judged the same: one customer from then on.
tools A B
A.jane name="Jane Doe" email=family@x.com
B.bob name="Bob Roe" email=family@x.com note=hello
sync
steward: A.jane is B.bob
sync
expect A.jane is B.bob
expect A.jane note=hello
