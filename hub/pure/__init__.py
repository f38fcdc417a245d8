"""Values in, values out: no I/O, no clock, no randomness. Every rule of the hub is in here."""
