"""Indexes for pages of lists; `maintenance`; the end of the feed is its newest row.

Drops `feed_head`, a counter that every batch with events updated. Indexes that exist already are
kept, so that operators can build them beforehand with CREATE INDEX CONCURRENTLY.

Revision ID: 0007
Revises: 0006
"""

from datetime import UTC, datetime

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

OPEN_FILE = sa.text("batch_id IS NULL AND finished_at IS NULL")
CANCELLED = sa.text("cancel_asked_at IS NOT NULL")
UNPUBLISHED = sa.text("published_at IS NULL")

COURSE_PATTERN = "ix_course_course_id_pattern"
#: Name, table, columns and condition of each new index.
INDEXES = (
    ("ix_submission_open_file", "submission", ["caller", "received_at"], OPEN_FILE),
    ("ix_submission_cancelled", "submission", ["caller", "received_at"], CANCELLED),
    ("ix_submission_unpublished", "submission", ["received_at"], UNPUBLISHED),
)


def upgrade() -> None:
    for name, table, columns, condition in INDEXES:
        op.create_index(
            name,
            table,
            columns,
            if_not_exists=True,
            sqlite_where=condition,
            postgresql_where=condition,
        )
    op.create_index(
        COURSE_PATTERN,
        "course",
        ["course_id"],
        postgresql_ops={"course_id": "text_pattern_ops"},
        if_not_exists=True,
    )
    maintenance = op.create_table(
        "maintenance",
        sa.Column("name", sa.String(40), nullable=False),
        sa.Column("turn", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("turn_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_maintenance"),
    )
    op.bulk_insert(maintenance, [{"name": "purge", "turn": 0, "ended_at": datetime.now(UTC)}])
    op.drop_table("feed_head")


def downgrade() -> None:
    op.create_table(
        "feed_head",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_feed_head"),
    )
    op.execute(
        "INSERT INTO feed_head (id, position) SELECT 1, (SELECT coalesce(max(last), 0) FROM feed)"
    )
    op.drop_table("maintenance")
    for name, table, _, _ in INDEXES:
        op.drop_index(name, table)
    op.drop_index(COURSE_PATTERN, "course")
