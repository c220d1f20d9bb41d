"""Encodings: I-JSON, compressed JSON, types of JSON answers."""
