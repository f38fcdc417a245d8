# Who names one of two records of one company has not taken the other one back.
tools A B
A.acme company legal_name="Acme" domain=acme.com
A.acme2 company legal_name="Acme Two" domain=acme2.com
A.jane name="Jane Doe" email=jane@x.com firm=acme,acme2
sync
steward: A.acme is A.acme2
sync
A.jane firm=acme
sync
expect A.jane firms=acme
