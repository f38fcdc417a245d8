"""synchub: one customer, the same in every tool. See hub/README.md for the map."""

__version__ = "0.1.0"
