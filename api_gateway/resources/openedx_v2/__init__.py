"""Routes of version 2 of the Open edX Enrollment API."""
