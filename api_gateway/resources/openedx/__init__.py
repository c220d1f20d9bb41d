"""Resources of the Open edX API beside enrollments."""
