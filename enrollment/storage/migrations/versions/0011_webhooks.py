"""Adds webhooks, their deliveries, and how far the feed was read for them.

Revision ID: 0011
Revises: 0010
"""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime(timezone=True)
BIG_SERIAL = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
PENDING = sa.text("state = 'pending'")


def upgrade() -> None:
    op.create_table(
        "webhook",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("types", sa.JSON(), nullable=False),
        sa.Column("courses", sa.JSON(), nullable=False),
        sa.Column("callers", sa.JSON(), nullable=False),
        sa.Column("secret", sa.Text(), nullable=False),
        sa.Column("previous_secret", sa.Text(), nullable=True),
        sa.Column("previous_until", MOMENT, nullable=True),
        sa.Column("created", MOMENT, nullable=False),
        sa.Column("disabled_reason", sa.String(40), nullable=True),
        sa.Column("disabled_at", MOMENT, nullable=True),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.Column("failures", sa.Integer(), server_default="0", nullable=False),
        sa.Column("not_before", MOMENT, nullable=True),
        sa.Column("leased_until", MOMENT, nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_webhook"),
    )
    _create_deliveries()
    _create_indexes()
    positions = op.create_table(
        "webhook_position",
        sa.Column("name", sa.String(40), nullable=False),
        sa.Column("position", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("read_until", MOMENT, nullable=True),
        sa.PrimaryKeyConstraint("name", name="pk_webhook_position"),
    )
    op.bulk_insert(positions, [{"name": "feed"}, {"name": "submissions"}])


def _create_deliveries() -> None:
    op.create_table(
        "webhook_delivery",
        sa.Column("id", BIG_SERIAL, nullable=False),
        sa.Column("webhook_id", sa.Uuid(), nullable=False),
        sa.Column("message_id", sa.Uuid(), nullable=False),
        sa.Column("type", sa.String(40), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=True),
        sa.Column("body", sa.Text(), nullable=True),
        sa.Column("order_key", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(10), nullable=False),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("created", MOMENT, nullable=False),
        sa.Column("next_attempt_at", MOMENT, nullable=True),
        sa.Column("attempted_at", MOMENT, nullable=True),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("answer", sa.Text(), nullable=True),
        sa.Column("error", sa.String(40), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_webhook_delivery"),
        sa.UniqueConstraint(
            "webhook_id", "message_id", name="uq_webhook_delivery_webhook_id_message_id"
        ),
        sa.ForeignKeyConstraint(
            ["webhook_id"],
            ["webhook.id"],
            name="fk_webhook_delivery_webhook_id_webhook",
            ondelete="CASCADE",
        ),
        sqlite_autoincrement=True,
    )


def _create_indexes() -> None:
    table = "webhook_delivery"
    op.create_index("ix_webhook_delivery_list", table, ["webhook_id", "state", "id"])
    for name, columns in {
        "ix_webhook_delivery_due": ["webhook_id", "next_attempt_at"],
        "ix_webhook_delivery_order": ["webhook_id", "order_key", "id"],
    }.items():
        op.create_index(name, table, columns, sqlite_where=PENDING, postgresql_where=PENDING)


def downgrade() -> None:
    op.drop_table("webhook_position")
    op.drop_table("webhook_delivery")
    op.drop_table("webhook")
