"""`enroll webhooks`."""
