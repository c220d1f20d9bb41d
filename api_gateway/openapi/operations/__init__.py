"""OpenAPI operations, one module per tag."""
