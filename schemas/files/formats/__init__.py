"""Formats of other systems' enrollment files."""
