"""Bodies of the routes of Open edX beside its enrollments."""
