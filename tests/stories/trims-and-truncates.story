# A tool cuts notes at 8 characters: nobody's note gets shorter elsewhere, and edits there arrive.
tools A B(truncates=8)
A.jane name="Jane Doe" email=jane@x.com note="A long note about Jane"
B.jane name="Jane Doe" email=jane@x.com
sync
expect B.jane note="A long n"
expect golden A.jane note="A long note about Jane"
expect B.jane note is agree
B.jane note="A LONG n"
sync
expect golden A.jane note="A LONG note about Jane"
expect A.jane note="A LONG note about Jane"
