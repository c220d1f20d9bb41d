"""Adds `installation.signing_kid`: the id of the key that gateways made to sign tokens with.

Revision ID: 0019
Revises: 0018
"""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("installation", sa.Column("signing_kid", sa.String(16), nullable=True))


def downgrade() -> None:
    op.drop_column("installation", "signing_kid")
