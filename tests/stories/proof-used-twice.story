# A proof lifts the refusal before it; shown again after a new refusal it lifts nothing.
tools A B C D
widens A B C D
A.jane name="Jane Doe" email=jane@x.com
B.jane name="Jane Doe" email=jane@x.com
C.jane name="Jane Doe" email=jane@x.com
D.jane name="Jane Doe" email=jane@x.com
sync
A.jane consent=out
sync
A.jane consent=proof:form-7
sync
expect golden A.jane consent=in
D.jane consent=out
sync
expect golden A.jane consent=out
A.jane consent=proof:form-7
sync
expect golden A.jane consent=out
expect A.jane consent=out
A.jane consent=proof:form-8
sync
expect golden A.jane consent=in
expect D.jane consent=in
