"""Roles of people in courses, and their opt-ins to e-mail."""
