"""The HTTP API described: one OpenAPI 3.1 document, made from the schemas that validate."""
