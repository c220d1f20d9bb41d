"""Database access: engines, sessions, locks, error mapping, durability."""
