"""Observation of requests: metrics and access records."""
