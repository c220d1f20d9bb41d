"""Connections to Redis: one server by its URL, or the primary that Redis Sentinel names."""
