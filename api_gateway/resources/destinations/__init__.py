"""Destinations over HTTP: systems that must end in the same state, and deliveries to them."""
