"""Storage of API keys."""
