"""Adds roles in courses, opt-ins to e-mail, retiring learners, and OAuth clients.

Revision ID: 0009
Revises: 0008
"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime(timezone=True)
BIG_SERIAL = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.add_column(
        "learner",
        sa.Column("is_retiring", sa.Boolean(), server_default=sa.text("false"), nullable=False),
    )
    op.create_table(
        "course_role",
        sa.Column("username", sa.String(255), nullable=False),
        sa.Column("course_id", sa.String(255), nullable=False),
        sa.Column("role", sa.String(32), nullable=False),
        sa.Column("created", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("username", "course_id", "role", name="pk_course_role"),
    )
    op.create_index("ix_course_role_course_id", "course_role", ["course_id"])
    op.create_table(
        "email_opt_in",
        sa.Column("username", sa.String(255), nullable=False),
        sa.Column("org", sa.String(255), nullable=False),
        sa.Column("is_opted_in", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("username", "org", name="pk_email_opt_in"),
    )
    _create_clients()


def _create_clients() -> None:
    op.create_table(
        "oauth_client",
        sa.Column("id", BIG_SERIAL, nullable=False),
        sa.Column("client_id", sa.String(255), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("username", sa.String(255), nullable=False),
        sa.Column("is_staff", sa.Boolean(), nullable=False),
        sa.Column("created", MOMENT, nullable=False),
        sa.Column("revoked_at", MOMENT, nullable=True),
        sa.Column("last_used_at", MOMENT, nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_oauth_client"),
        sa.UniqueConstraint("client_id", name="uq_oauth_client_client_id"),
    )


def downgrade() -> None:
    op.drop_table("oauth_client")
    op.drop_table("email_opt_in")
    op.drop_table("course_role")
    op.drop_column("learner", "is_retiring")
