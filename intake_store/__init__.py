"""Stores accepted requests durably: the transaction behind every way in."""
