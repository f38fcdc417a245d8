# A proof that was never shown before dates from before the refusal: it lifts nothing.
tools A B
widens A B
A.jane name="Jane Doe" email=jane@x.com
B.jane name="Jane Doe" email=jane@x.com
sync
A.jane consent=out
sync
A.jane consent=old:form-7
sync
expect golden A.jane consent=out
expect A.jane consent=out
expect B.jane consent=out
A.jane consent=proof:form-8
sync
expect golden A.jane consent=in
expect B.jane consent=in
