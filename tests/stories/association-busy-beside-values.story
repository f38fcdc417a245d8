# The tool takes the values of an edit and is too busy for its association, which follows later.
tools A B
A.acme company legal_name="Acme" domain=acme.com
A.jane name="Jane Doe" email=jane@x.com
sync
A.jane note=told firm=acme
next write of B: link busy
sync
expect B of A.jane note=told firms=B-1
expect A.jane firms=acme
