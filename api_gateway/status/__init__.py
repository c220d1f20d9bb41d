"""Status of submissions: queries, waiters, long polling, event streams."""
