# Numbers are written in one form everywhere; the way it was typed stays known.
tools A B
A.jane name="Jane Doe" email=Jane@X.com phone="(202) 555-0114"
B.jane name="Jane Doe" email=jane@x.com
sync
expect golden A.jane phone=+12025550114 email=jane@x.com
expect A.jane phone=+12025550114 email=jane@x.com
expect B.jane phone=+12025550114
