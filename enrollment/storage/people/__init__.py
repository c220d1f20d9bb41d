"""Queries about people, beside their enrollments: roles in courses, opt-ins to e-mail."""
