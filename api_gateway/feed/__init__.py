"""The change feed as its readers follow it."""
