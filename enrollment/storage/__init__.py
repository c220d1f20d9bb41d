"""The records: tables, sessions, and a module of queries a noun."""
