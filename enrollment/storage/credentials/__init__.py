"""Storage of API keys and of the service's own secrets."""
