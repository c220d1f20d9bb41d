"""Destinations, and the enrollments whose state is to arrive there."""
