# Cover does not beat authority: B typed on top of A's value, A outranks B.
tools A B
rule phone authority A B
A.jane name="Jane Doe" email=jane@x.com phone="+1 202 555 0101"
B.jane name="Jane Doe" email=jane@x.com
sync
B.jane phone="+1 202 555 0199"
sync
expect golden A.jane phone=+12025550101
expect B.jane phone=+12025550101
