"""Webhooks: queues messages for endpoints, and sends them."""
