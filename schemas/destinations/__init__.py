"""Destinations: bodies of requests and answers."""
