"""Destinations: queues the states of enrollments for other systems, and applies them there."""
