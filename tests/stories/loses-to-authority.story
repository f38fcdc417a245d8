# An edit that loses to authority is written back, also in the tool where it was made.
tools A B C
rule birth_date authority A B C
A.jane name="Jane Doe" email=jane@x.com birth_date=1990-01-02
B.jane name="Jane Doe" email=jane@x.com
C.jane name="Jane Doe" email=jane@x.com
sync
C.jane birth_date=1991-01-02
sync
expect C.jane birth_date=1990-01-02
expect A.jane birth_date=1990-01-02
