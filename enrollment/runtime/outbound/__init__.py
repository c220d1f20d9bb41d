"""Calls of other systems: which addresses are allowed, connections to them, stored secrets."""
