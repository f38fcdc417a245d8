# A placeholder in place of an address is quarantined and joins nobody.
tools A B
A.jane name="Jane Doe" email=none@none.com
B.bob name="Jane Roe" email=none@none.com
sync
expect A.jane is not B.bob
expect golden A.jane email=
expect A.jane email is quarantined
