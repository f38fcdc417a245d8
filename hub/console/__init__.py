"""The operators' console: pages for people, the same answers as JSON, and the forms to act."""
