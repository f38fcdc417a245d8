# One company in three tools, found by its domain: renamed in one, renamed in all, made in the fourth.
tools A B C D
A.acme company legal_name="Acme" domain=acme.com
B.acme company legal_name="ACME Inc" domain=acme.com
C.acme company legal_name="Acme" domain=acme.com
sync
expect A.acme is C.acme
C.acme company legal_name="Acme International"
sync
expect A.acme legal_name="Acme International"
expect B.acme legal_name="Acme International"
expect D of A.acme legal_name="Acme International" domain=acme.com
