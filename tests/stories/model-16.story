# Rubbish is quarantined: the earlier claim stands, the old losing value goes nowhere.
tools A B
rule phone authority A B
B.jane name="Jane Doe" email=jane@x.com phone="+1 202 555 0105"
A.jane name="Jane Doe" email=jane@x.com phone="+1 202 555 0106"
sync
A.jane phone="call me"
sync
expect golden A.jane phone=+12025550106
expect A.jane phone="call me"
expect A.jane phone is quarantined
expect B.jane phone=+12025550106
