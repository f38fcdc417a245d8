# A conditional tool refuses a write that has not seen an edit: the edit survives, then both agree.
tools A B(conditional revisions)
A.jane name="Jane Doe" email=jane@x.com note=one
B.jane name="Jane Doe" email=jane@x.com note=one
sync
A.jane note=two
capture A
resolve
B plans
B.jane job_title=Typed
B reads
B sends
resolve
sync
expect B.jane job_title=Typed note=two
