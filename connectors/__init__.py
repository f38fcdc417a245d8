"""Both ends of the path: one folder for each tool, with its connector and its sandbox."""
