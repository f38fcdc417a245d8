# The same telephone number alone is a question, not an answer.
tools A B
A.jane name="Jane Doe" email=jane@x.com phone="+1 202 555 0113"
B.joan name="Joan Doe" email=joan@x.com phone="+1 202 555 0113"
sync
expect A.jane is not B.joan
expect asked A.jane
expect nobody in B for A.jane
