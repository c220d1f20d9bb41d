"""The work behind the queue."""
