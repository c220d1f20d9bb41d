"""Adds `destination_report.place`, where an import goes on, and `webhook.caller`, who added it.

Revision ID: 0018
Revises: 0017
"""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

_CALLER = sa.String(300).with_variant(sa.String(255), "sqlite")


def upgrade() -> None:
    op.add_column("destination_report", sa.Column("place", sa.Text(), nullable=True))
    op.add_column("webhook", sa.Column("caller", _CALLER, nullable=True))


def downgrade() -> None:
    op.drop_column("webhook", "caller")
    op.drop_column("destination_report", "place")
