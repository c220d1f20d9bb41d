"""Webhooks over HTTP: endpoints, and deliveries to them."""
