"""Adds `submission.learners_created`; callers may have 300 characters.

A caller is a prefix and a username of up to 255 characters. SQLite does not enforce lengths, and
changing a column's type there means copying the table: its columns stay as they are.

Revision ID: 0006
Revises: 0005
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_TABLES = ("submission", "event", "idempotency")


def upgrade() -> None:
    op.add_column(
        "submission",
        sa.Column("learners_created", sa.Integer(), nullable=False, server_default="0"),
    )
    _allow_long_callers()


def downgrade() -> None:
    # The length stays: a longer name of a caller may be stored, and an older release works with it.
    op.drop_column("submission", "learners_created")


def _allow_long_callers() -> None:
    if op.get_bind().dialect.name == "sqlite":
        return
    for table in _TABLES:
        op.alter_column(
            table,
            "caller",
            existing_type=sa.String(255),
            type_=sa.String(300),
            existing_nullable=False,
        )
