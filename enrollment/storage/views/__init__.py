"""Read models: pages of enrollments and submissions."""
