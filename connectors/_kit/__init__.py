"""What every connector is made of: the contract, field maps, paging, auth, the sandbox base."""
