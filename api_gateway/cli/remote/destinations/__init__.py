"""`enroll destinations`."""
