"""Alembic environment: runs migrations on the connection that `migrate` passes in.

`migrate` owns the transaction and the lock; there is no configuration file.
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
