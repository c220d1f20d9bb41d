"""Observation of attempts: metrics and traces."""
