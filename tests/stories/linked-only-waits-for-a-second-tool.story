# A tool that wants linked customers only gets one when a second tool knows it, tags and refusal too.
tools A B C D
create B linked
create C never
create D never
A.jane name="Jane Doe" email=jane@x.com tags=vip
A.joan name="Joan Roe" email=joan@x.com
sync
expect nobody in B for A.jane
D.jane name="Jane Doe" email=jane@x.com consent=out
sync
expect B of A.jane tags=vip consent=out
expect nobody in B for A.joan
expect nobody in C for A.jane
