# Nobody has to replay: the next reading of the record repairs it by itself.
tools A B
A.jane name="Jane Doe" email=jane@x.com
sync
A.jane phone="+1 202 555 0101"
capture A
A.jane poisoned
sync
A.jane note="edited since"
sync
expect B of A.jane phone=+12025550101
expect B of A.jane note="edited since"
expect nothing parked
