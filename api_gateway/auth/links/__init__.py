"""Links that carry credentials, for clients that cannot send headers."""
