"""Destinations: systems that must end in the same state, and what is exchanged with them."""
