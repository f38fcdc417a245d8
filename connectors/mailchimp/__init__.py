"""Mailchimp: the connector and its sandbox."""
