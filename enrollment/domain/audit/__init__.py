"""Audit rules: consistency checks over outcomes, events and seats."""
