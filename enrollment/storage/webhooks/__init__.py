"""Webhooks: endpoints, deliveries to them, and how far the feed was read for them."""
