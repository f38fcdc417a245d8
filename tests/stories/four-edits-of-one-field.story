# Four people edit one field before any of them sees another: the newest edit holds in all four.
tools A B C D
A.jane name="Jane Doe" email=jane@x.com note=old
B.jane name="Jane Doe" email=jane@x.com
C.jane name="Jane Doe" email=jane@x.com
D.jane name="Jane Doe" email=jane@x.com
sync
A.jane note=first
B.jane note=second
D.jane note=third
C.jane note=last
sync
expect golden A.jane note=last
expect A.jane note=last
expect B.jane note=last
expect D.jane note=last
