# Nobody can strike a refusal: only an opt-in that its person gave afterwards lifts it.
tools A B
widens A B
A.jane name="Jane Doe" email=jane@x.com
B.jane name="Jane Doe" email=jane@x.com
sync
A.jane consent=proof
sync
B.jane consent=out
sync
steward: retract B.jane consent[email.marketing]
sync
expect golden A.jane consent=out
