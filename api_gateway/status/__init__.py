"""Submission status: queries, waiters, long polling, event streams."""
