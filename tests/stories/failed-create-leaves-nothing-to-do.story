# A create came to nothing while its customer's company moved: the link that never was is let go.
tools A B(settle=30)
A.jane name="Jane Doe" email=jane@x.com
capture A
resolve
capture B
next write of B: error before
deliver B
resolve
A.acme company legal_name="Acme" domain=acme.com
A.jane firm=acme
sync
expect B of A.jane firms=B-1
