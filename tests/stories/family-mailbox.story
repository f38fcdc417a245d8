# Two people share a mailbox, their names share no word: a steward is asked, nobody is created.
tools A B
A.jane name="Jane Doe" email=family@x.com
B.bob name="Bob Roe" email=family@x.com
sync
expect A.jane is not B.bob
expect asked A.jane
expect nobody in B for A.jane
steward: A.jane is not B.bob
sync
expect somebody in B for A.jane
expect somebody in A for B.bob
