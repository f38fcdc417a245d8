# A tool cuts a note short: the whole note stays in the others, and an edit elsewhere arrives.
tools A B(truncates=8) C D
A.jane name="Jane Doe" email=jane@x.com note="a very long note"
B.jane name="Jane Doe" email=jane@x.com
C.jane name="Jane Doe" email=jane@x.com
D.jane name="Jane Doe" email=jane@x.com
sync
expect B.jane note="a very l"
expect D.jane note="a very long note"
C.jane note="a very long note, edited"
sync
expect golden A.jane note="a very long note, edited"
expect A.jane note="a very long note, edited"
expect B.jane note="a very l"
