"""Webhooks: which messages an endpoint receives, and when a failed delivery is tried again."""
