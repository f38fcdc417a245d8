# The authority clears a value that somebody below it has typed.
tools A B C
rule note authority A B C
A.jane name="Jane Doe" email=jane@x.com
B.jane name="Jane Doe" email=jane@x.com note=second
C.jane name="Jane Doe" email=jane@x.com
sync
A.jane note=
sync
expect golden A.jane note=
expect B.jane note=
