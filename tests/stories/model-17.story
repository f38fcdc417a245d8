# Cleared by the authority: nothing typed over before comes back, and others can fill it again.
tools A B
rule note authority A B
A.jane name="Jane Doe" email=jane@x.com note=first
B.jane name="Jane Doe" email=jane@x.com
sync
A.jane note=
sync
expect B.jane note=
B.jane note=filled
sync
expect A.jane note=filled
B.jane note=
sync
expect A.jane note=
