"""The HTTP server: uvicorn with a protocol that guards connections, and an orderly shutdown."""
