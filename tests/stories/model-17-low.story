# Whoever ranks lower cannot wipe what the authority has typed.
tools A B
rule note authority A B
A.jane name="Jane Doe" email=jane@x.com note=first
B.jane name="Jane Doe" email=jane@x.com
sync
B.jane note=
sync
expect B.jane note=first
