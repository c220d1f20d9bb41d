"""Adds reports of destinations, and the differences that they found.

Revision ID: 0014
Revises: 0013
"""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "destination_report",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("destination_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.String(10), nullable=False),
        sa.Column("is_applied", sa.Boolean(), nullable=False),
        sa.Column("state", sa.String(10), nullable=False),
        sa.Column("created", MOMENT, nullable=False),
        sa.Column("started_at", MOMENT, nullable=True),
        sa.Column("finished_at", MOMENT, nullable=True),
        sa.Column("leased_until", MOMENT, nullable=True),
        sa.Column("leased_by", sa.String(64), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("counts", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_destination_report"),
        sa.ForeignKeyConstraint(
            ["destination_id"],
            ["destination.id"],
            name="fk_destination_report_destination_id",
            ondelete="CASCADE",
        ),
    )
    _create_differences()
    op.create_index(
        "ix_destination_report_list", "destination_report", ["destination_id", "created"]
    )
    op.create_index("ix_destination_report_due", "destination_report", ["state", "created"])


def _create_differences() -> None:
    op.create_table(
        "destination_difference",
        sa.Column("report_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(20), nullable=False),
        sa.Column("course_id", sa.String(255), nullable=False),
        sa.Column("username", sa.String(255), nullable=False),
        sa.Column("mode_here", sa.String(100), nullable=True),
        sa.Column("is_active_here", sa.Boolean(), nullable=True),
        sa.Column("mode_there", sa.String(100), nullable=True),
        sa.Column("is_active_there", sa.Boolean(), nullable=True),
        sa.Column("is_queued", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("report_id", "number", name="pk_destination_difference"),
        sa.ForeignKeyConstraint(
            ["report_id"],
            ["destination_report.id"],
            name="fk_destination_difference_report_id",
            ondelete="CASCADE",
        ),
    )


def downgrade() -> None:
    op.drop_table("destination_difference")
    op.drop_table("destination_report")
