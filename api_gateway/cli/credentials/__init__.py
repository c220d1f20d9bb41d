"""Commands for API keys, OAuth clients and tokens."""
