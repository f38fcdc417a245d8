# Two automations that rewrite each other's format are braked.
tools A(reformats) B(reformats)
A.jane name="Jane Doe" email=jane@x.com
B.jane name="Jane Doe" email=jane@x.com
sync
count writes
A.jane phone="+1 202 555 0107"
round
round
round
round
round
round
round
round
sync
expect golden A.jane phone=+12025550107
expect writes of A = 1
expect writes of B = 1
