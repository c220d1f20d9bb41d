"""Creates `crosswalk` (ids of other systems); adds `submission.files` (the files of an archive).

Revision ID: 0003
Revises: 0002
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "crosswalk",
        sa.Column("source", sa.String(100), nullable=False),
        sa.Column("kind", sa.String(8), nullable=False),
        sa.Column("theirs", sa.String(255), nullable=False),
        sa.Column("ours", sa.String(255), nullable=False),
        sa.PrimaryKeyConstraint("source", "kind", "theirs", name="pk_crosswalk"),
    )
    op.add_column("submission", sa.Column("files", sa.JSON(none_as_null=True), nullable=True))


def downgrade() -> None:
    op.drop_column("submission", "files")
    op.drop_table("crosswalk")
