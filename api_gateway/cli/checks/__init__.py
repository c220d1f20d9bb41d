"""Checks of `enroll doctor`, and their results."""
