"""Adds expiry and last use of API keys; deletes the signing key of our own tokens.

That key was stored in `secret`, where everybody who reads the database could sign with it. Keys of
this release are in a file or a setting; tokens of the deleted one end, as they soon would.

Revision ID: 0008
Revises: 0007
"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.add_column("api_key", sa.Column("expires_at", MOMENT, nullable=True))
    op.add_column("api_key", sa.Column("last_used_at", MOMENT, nullable=True))
    if op.get_bind().dialect.name == "sqlite":
        op.execute("PRAGMA secure_delete = ON")  # else the deleted value stays in the file
    op.execute("DELETE FROM secret")


def downgrade() -> None:
    op.drop_column("api_key", "last_used_at")
    op.drop_column("api_key", "expires_at")
