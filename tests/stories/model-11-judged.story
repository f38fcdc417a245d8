# A verdict on one pair brings both customers together, and tears nobody off.
tools B C
B.one name="Jane Doe" email=one@x.com
C.one name="Jane Doe" email=one@x.com
B.two name="John Roe" email=two@x.com
C.two name="John Roe" email=two@x.com
sync
steward: C.one is C.two
sync
expect B.one is B.two
expect B.one is C.one
