"""Helpers that several resources share."""
