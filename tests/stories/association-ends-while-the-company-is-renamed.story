# Somebody leaves a company in one tool while it is renamed in another: both are told everywhere.
tools A B C D
A.acme company legal_name="Acme" domain=acme.com
A.jane name="Jane Doe" email=jane@x.com firm=acme
sync
expect D of A.jane firms=D-1
A.jane firm=
B.B-1 company legal_name="Acme International"
sync
expect A.acme legal_name="Acme International"
expect B of A.jane firms=
expect D of A.jane firms=
expect C of A.acme legal_name="Acme International"
