"""The OpenAPI 3.1 document, derived from the request schemas and the types of the responses."""
