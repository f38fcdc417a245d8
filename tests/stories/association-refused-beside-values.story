# The tool takes the values of an edit and refuses its association: nobody has ended it anywhere else.
tools A B
A.acme company legal_name="Acme" domain=acme.com
A.jane name="Jane Doe" email=jane@x.com
sync
A.jane note=told firm=acme
next write of B: link refused
sync
expect B of A.jane note=told firms=
expect A.jane firms=acme
expect parked rejected
