"""Parsing and validation of a single request."""
