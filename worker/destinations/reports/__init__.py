"""Jobs that compare with a destination or read it, and their reports."""
