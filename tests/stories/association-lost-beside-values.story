# The values that are found after an unknown outcome prove nothing of the association beside them.
tools A B
A.acme company legal_name="Acme" domain=acme.com
A.jane name="Jane Doe" email=jane@x.com
sync
A.jane note=told firm=acme
next write of B: link lost
sync
expect B of A.jane note=told firms=B-1
expect A.jane firms=acme
