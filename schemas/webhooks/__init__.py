"""Webhooks: endpoints, deliveries, and the bodies of messages."""
