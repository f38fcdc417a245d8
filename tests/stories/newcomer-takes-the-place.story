# A newcomer beside a deleted record stands for it: nobody has to decide any more.
tools A B
A.jane name="Jane Doe" email=jane@x.com
B.jane name="Jane Doe" email=jane@x.com
sync
B.jane delete
sync
expect parked departed
B.janet name="Jane Doe" email=jane@x.com
sync
expect A.jane is B.janet
expect nothing parked
