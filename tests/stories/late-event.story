# A reading that began before a newer one ended enters the history and changes nothing.
tools A B(revisions)
A.jane name="Jane Doe" email=jane@x.com
B.jane name="Jane Doe" email=jane@x.com note=one
sync
B.jane note=two
capture B
B.jane note=three
capture B
resolve
sync
expect golden A.jane note=three
expect A.jane note=three
