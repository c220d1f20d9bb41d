"""The pages for people, rendered from the OpenAPI document: no scripts, one style sheet."""
