"""Reads uploaded archives."""
