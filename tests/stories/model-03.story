# A replay without intents and receipts would give another golden: the runner folds all orders.
tools A B C
A.jane name="Jane Doe" email=jane@x.com note=one
sync
expect C of A.jane note=one
A.jane note=two
sync
A.jane note=three
sync
expect B of A.jane note=three
