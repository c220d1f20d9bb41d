"""Usernames and e-mail addresses: their syntax, and ids that a program damaged."""
