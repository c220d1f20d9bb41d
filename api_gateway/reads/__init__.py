"""Group reads: many concurrent reads of enrollments, answered by one query."""
