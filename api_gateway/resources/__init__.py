"""Falcon resources: one class per URL, with its dependencies in the constructor."""
