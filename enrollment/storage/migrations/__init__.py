"""The versions of the tables, oldest first (Alembic; run by ``enrollment.storage.migrate``)."""
