# A refusal of text messages goes where there is a place for it: a tool that knows of mail only is
# not offered it, and is given the customer all the same.
tools A B(consents=email.marketing) C
A.jane name="Jane Doe" email=jane@x.com sms=out
count writes
sync
expect C of A.jane sms=out
expect B of A.jane email=jane@x.com sms=
expect writes of B = 1
C.C-1 consent=out
sync
expect A.jane consent=out sms=out
expect B of A.jane consent=out sms=
expect writes of B = 2
