"""Stripe: billing."""
