# A role mailbox is nobody's evidence.
tools A B
A.jane name="Jane Doe" email=info@firm.com
B.bob name="Jane Roe" email=info@firm.com
sync
expect A.jane is not B.bob
