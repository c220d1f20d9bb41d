"""Storage of API keys; privileges of the roles of PostgreSQL."""
