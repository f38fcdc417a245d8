"""Acme, which does not exist: a connector to be copied, and its sandbox."""
