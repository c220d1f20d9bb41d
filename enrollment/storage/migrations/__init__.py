"""Alembic migrations; `enrollment.storage.migrate` runs them."""
