"""Maintenance: purging of expired rows, and its turns."""
