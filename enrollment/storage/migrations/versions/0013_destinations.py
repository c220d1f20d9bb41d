"""Adds destinations, the enrollments that are to arrive there, and how far the feed was read.

Revision ID: 0013
Revises: 0012
"""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime(timezone=True)
BIG_SERIAL = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
PENDING = sa.text("state = 'pending'")
POSITIONS = sa.table(
    "webhook_position", sa.column("name", sa.String(40)), sa.column("position", sa.BigInteger())
)


def upgrade() -> None:
    op.create_table(
        "destination",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.String(40), nullable=False),
        sa.Column("kind", sa.String(20), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("auth", sa.Text(), nullable=False),
        sa.Column("courses", sa.JSON(), nullable=False),
        sa.Column("concurrency", sa.Integer(), nullable=False),
        sa.Column("requests_per_second", sa.Float(), nullable=True),
        sa.Column("is_paused", sa.Boolean(), nullable=False),
        sa.Column("pull_courses_every", sa.Integer(), nullable=True),
        sa.Column("created", MOMENT, nullable=False),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.Column("failures", sa.Integer(), server_default="0", nullable=False),
        sa.Column("not_before", MOMENT, nullable=True),
        sa.Column("leased_until", MOMENT, nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_destination"),
        sa.UniqueConstraint("name", name="uq_destination_name"),
    )
    _create_deliveries()
    _create_indexes()
    op.bulk_insert(POSITIONS, [{"name": "destinations", "position": 0}])


def _create_deliveries() -> None:
    op.create_table(
        "destination_delivery",
        sa.Column("id", BIG_SERIAL, nullable=False),
        sa.Column("destination_id", sa.Uuid(), nullable=False),
        sa.Column("course_id", sa.String(255), nullable=False),
        sa.Column("username", sa.String(255), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("version", sa.Integer(), server_default="1", nullable=False),
        sa.Column("is_forced", sa.Boolean(), nullable=False),
        sa.Column("arrived_position", sa.BigInteger(), nullable=True),
        sa.Column("state", sa.String(10), nullable=False),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("created", MOMENT, nullable=False),
        sa.Column("next_attempt_at", MOMENT, nullable=True),
        sa.Column("attempted_at", MOMENT, nullable=True),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("answer", sa.Text(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        *_constraints(),
        sqlite_autoincrement=True,
    )


def _constraints() -> tuple[sa.Constraint, ...]:
    return (
        sa.PrimaryKeyConstraint("id", name="pk_destination_delivery"),
        sa.UniqueConstraint(
            *("destination_id", "course_id", "username"),
            name="uq_destination_delivery_destination_id_course_id_username",
        ),
        sa.ForeignKeyConstraint(
            ["destination_id"],
            ["destination.id"],
            name="fk_destination_delivery_destination_id_destination",
            ondelete="CASCADE",
        ),
    )


def _create_indexes() -> None:
    table = "destination_delivery"
    op.create_index("ix_destination_delivery_list", table, ["destination_id", "state", "id"])
    op.create_index(
        "ix_destination_delivery_due",
        table,
        ["destination_id", "next_attempt_at"],
        sqlite_where=PENDING,
        postgresql_where=PENDING,
    )
    op.create_index("ix_destination_delivery_enrollment", table, ["username", "course_id"])


def downgrade() -> None:
    op.drop_table("destination_delivery")
    op.drop_table("destination")
    op.execute(sa.delete(POSITIONS).where(POSITIONS.c.name == "destinations"))
