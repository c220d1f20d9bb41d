"""Helpers shared by several resources."""
