"""Counters of a process: plain objects that its own code counts in, and that others read."""
