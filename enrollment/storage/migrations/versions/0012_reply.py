"""Adds replies that are owed to senders of requests.

Revision ID: 0012
Revises: 0011
"""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "reply",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("submission_id", sa.Uuid(), nullable=False),
        sa.Column("stream", sa.String(255), nullable=False),
        sa.Column("sent_id", sa.String(255), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_reply"),
        sa.ForeignKeyConstraint(
            ["submission_id"],
            ["submission.id"],
            name="fk_reply_submission_id",
            ondelete="CASCADE",
        ),
        sa.UniqueConstraint(
            "submission_id", "stream", "sent_id", name="uq_reply_submission_id_stream_sent_id"
        ),
    )


def downgrade() -> None:
    op.drop_table("reply")
