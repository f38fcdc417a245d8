# A tool keeps addresses unique and refuses a create: shown, not tried again and again.
tools A B(unique)
B.hidden name="Ann Other" email=jane@x.com
A.jane name="Jane Doe" email=jane@x.com
sync
expect asked A.jane
expect nobody in B for A.jane
