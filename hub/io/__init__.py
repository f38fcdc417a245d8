"""The shell around `hub/pure`: log, store, codec, seal, HTTP, mail.

Every module here touches one part of the world for the steps of the path, and has a twin in memory
that obeys the same laws.
"""
