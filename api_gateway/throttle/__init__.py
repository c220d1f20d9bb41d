"""Limits of rates, shared by all processes through Redis."""
