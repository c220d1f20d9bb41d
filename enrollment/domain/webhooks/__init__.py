"""Webhooks: the messages that an endpoint receives, and stored endpoints."""
