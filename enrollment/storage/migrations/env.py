"""Alembic's way to the database: the connection that ``migrate`` hands over, nothing else.

The transaction and the lock around it belong to ``migrate``; there is no configuration file.
"""

from alembic import context

from enrollment.storage.tables import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    render_as_batch=context.config.attributes["connection"].dialect.name == "sqlite",
)
with context.begin_transaction():
    context.run_migrations()
