"""Parsing of uploaded files: splitting into batches, rows, encodings, archives."""
