# One clears a field, another edits it, neither saw the other: what was typed is not lost.
tools A B C D
A.jane name="Jane Doe" email=jane@x.com note=old
B.jane name="Jane Doe" email=jane@x.com
C.jane name="Jane Doe" email=jane@x.com
D.jane name="Jane Doe" email=jane@x.com
sync
B.jane note=kept
A.jane note=
sync
expect golden A.jane note=kept
expect A.jane note=kept
expect D.jane note=kept
