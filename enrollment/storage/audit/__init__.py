"""Audit queries: submissions, events, timelines."""
