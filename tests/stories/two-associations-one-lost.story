# Of two associations that begin at once only the first is made: it proves nothing of the second.
tools A B
A.acme company legal_name="Acme" domain=acme.com
A.bolt company legal_name="Bolt" domain=bolt.com
A.jane name="Jane Doe" email=jane@x.com
sync
A.jane firm=acme,bolt
next write of B: link lost
sync
expect B of A.jane firms=B-1,B-2
expect A.jane firms=acme,bolt
