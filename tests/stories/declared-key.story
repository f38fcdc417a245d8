# A declared key makes two records one, whatever else differs.
tools A B
rule birth_date newest A B identifier
A.jane name="Jane Doe" email=jane@x.com birth_date=1990-05-05
B.bob name="Jane Moved" email=moved@x.com birth_date=1990-05-05
sync
expect A.jane is B.bob
