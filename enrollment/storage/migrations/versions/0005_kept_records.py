"""Creates `record_states` (records that keep or end enrollments); indexes `crosswalk.ours`.

Revision ID: 0005
Revises: 0004
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "record_states",
        sa.Column("submission_id", sa.Uuid(), nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("states", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("submission_id", "ordinal", name="pk_record_states"),
        sa.ForeignKeyConstraint(
            ["submission_id"],
            ["submission.id"],
            name="fk_record_states_submission_id",
            ondelete="CASCADE",
        ),
    )
    op.create_index("ix_crosswalk_source_kind_ours", "crosswalk", ["source", "kind", "ours"])


def downgrade() -> None:
    op.drop_index("ix_crosswalk_source_kind_ours", "crosswalk")
    op.drop_table("record_states")
