# A person belongs to a company that another tool does not have yet: company first, then the link.
tools A B
sync
A.acme company legal_name="Acme" domain=acme.com
A.jane name="Jane Doe" email=jane@x.com firm=acme
sync
expect B of A.jane firms=B-1
A.jane firm=
sync
expect B of A.jane firms=
