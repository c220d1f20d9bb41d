"""Creates the first tables and inserts the rows of the counters.

Revision ID: 0001
Revises:
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

MOMENT = sa.DateTime(timezone=True)
JSON_OR_NULL = sa.JSON(none_as_null=True)
#: SQLite generates keys only in columns of type INTEGER.
COUNTED = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
WAITING = sa.text("answered_at IS NULL AND announced_at IS NOT NULL")

#: In order of dependency: each table after those that its foreign keys refer to.
TABLES = (
    "course",
    "mode",
    "edition",
    "learner",
    "invitation",
    "enrollment",
    "submission",
    "batch",
    "event",
    "feed",
    "feed_head",
    "idempotency",
    "api_key",
    "secret",
)


def upgrade() -> None:
    for make in (
        _course,
        _mode_and_edition,
        _learner,
        _invitation,
        _enrollment,
        _submission,
        _batch,
        _event,
        _feed,
        _idempotency,
        _api_key,
    ):
        make()
    op.execute("INSERT INTO feed_head (id, position) VALUES (1, 0)")
    op.execute("INSERT INTO edition (name, number) VALUES ('courses', 1)")
    if op.get_bind().dialect.name == "postgresql":
        # The values are compressed already: PostgreSQL would try to compress them again.
        op.execute("ALTER TABLE batch ALTER COLUMN payload SET STORAGE EXTERNAL")
        op.execute("ALTER TABLE batch ALTER COLUMN outcomes SET STORAGE EXTERNAL")


def downgrade() -> None:
    for table in reversed(TABLES):
        op.drop_table(table)


def _course() -> None:
    op.create_table(
        "course",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("course_id", sa.String(255), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("enrollment_start", MOMENT, nullable=True),
        sa.Column("enrollment_end", MOMENT, nullable=True),
        sa.Column("course_start", MOMENT, nullable=True),
        sa.Column("course_end", MOMENT, nullable=True),
        sa.Column("invite_only", sa.Boolean(), nullable=False),
        sa.Column("self_paced", sa.Boolean(), nullable=False),
        sa.Column("cohorts", sa.JSON(), nullable=False),
        sa.Column("capacity", sa.Integer(), nullable=True),
        sa.Column("seats_taken", sa.Integer(), server_default="0", nullable=False),
        sa.Column("revision", sa.Integer(), server_default="1", nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_course"),
        sa.CheckConstraint("capacity IS NULL OR capacity >= 0", name=op.f("ck_course_capacity")),
        sa.CheckConstraint("seats_taken >= 0", name=op.f("ck_course_seats_taken")),
        sa.UniqueConstraint("course_id", name="uq_course_course_id"),
    )


def _mode_and_edition() -> None:
    op.create_table(
        "mode",
        sa.Column("course_id", sa.Integer(), nullable=False),
        sa.Column("slug", sa.String(100), nullable=False),
        sa.Column("position", sa.SmallInteger(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("min_price", sa.Integer(), nullable=False),
        sa.Column("suggested_prices", sa.Text(), nullable=False),
        sa.Column("currency", sa.String(8), nullable=False),
        sa.Column("expires_at", MOMENT, nullable=True),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("sku", sa.Text(), nullable=True),
        sa.Column("bulk_sku", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("course_id", "slug", name="pk_mode"),
        sa.ForeignKeyConstraint(
            ["course_id"], ["course.id"], name="fk_mode_course_id", ondelete="CASCADE"
        ),
    )
    op.create_table(
        "edition",
        sa.Column("name", sa.String(40), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_edition"),
    )


def _learner() -> None:
    op.create_table(
        "learner",
        sa.Column("id", COUNTED, nullable=False),
        sa.Column("username", sa.String(255), nullable=False),
        sa.Column("email", sa.String(255), nullable=True),
        sa.Column("is_active", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("is_staff", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_learner"),
        sa.UniqueConstraint("username", name="uq_learner_username"),
    )
    op.create_index(
        "uq_learner_email",
        "learner",
        ["email"],
        unique=True,
        sqlite_where=sa.text("email IS NOT NULL"),
        postgresql_where=sa.text("email IS NOT NULL"),
    )


def _invitation() -> None:
    op.create_table(
        "invitation",
        sa.Column("course_id", sa.String(255), nullable=False),
        sa.Column("email", sa.String(255), nullable=False),
        sa.Column("created", MOMENT, nullable=False),
        sa.Column("expires_at", MOMENT, nullable=True),
        sa.Column("auto_enroll", sa.Boolean(), nullable=False),
        sa.Column("used_by", sa.String(255), nullable=True),
        sa.PrimaryKeyConstraint("course_id", "email", name="pk_invitation"),
    )
    op.create_index("ix_invitation_email", "invitation", ["email"])


def _enrollment() -> None:
    op.create_table(
        "enrollment",
        sa.Column("learner_id", sa.BigInteger(), nullable=False),
        sa.Column("course_id", sa.Integer(), nullable=False),
        sa.Column("mode", sa.String(100), nullable=False),
        sa.Column("is_active", sa.Boolean(), nullable=False),
        sa.Column("created", MOMENT, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("event_id", sa.BigInteger(), nullable=False),
        sa.Column("active_at", sa.BigInteger(), nullable=False),
        sa.Column("active_rank", sa.BigInteger(), nullable=False),
        sa.Column("active_line", sa.Integer(), nullable=False),
        sa.Column("mode_at", sa.BigInteger(), nullable=True),
        sa.Column("mode_rank", sa.BigInteger(), nullable=True),
        sa.Column("mode_line", sa.Integer(), nullable=True),
        sa.Column("extras", JSON_OR_NULL, nullable=True),
        sa.PrimaryKeyConstraint("learner_id", "course_id", name="pk_enrollment"),
        postgresql_with={"fillfactor": "90"},
    )
    op.create_index("ix_enrollment_course_id_created", "enrollment", ["course_id", "created"])
    op.create_index("ix_enrollment_created", "enrollment", ["created"])


def _submission() -> None:
    op.create_table(
        "submission",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.String(8), nullable=False),
        sa.Column("caller", sa.String(255), nullable=False),
        sa.Column("caller_kind", sa.String(8), nullable=False),
        sa.Column("received_at", MOMENT, nullable=False),
        sa.Column("published_at", MOMENT, nullable=True),
        sa.Column("total", sa.Integer(), nullable=False),
        sa.Column("intake", sa.BigInteger(), nullable=True),
        sa.Column("batch_id", sa.BigInteger(), nullable=True),
        sa.Column("position", sa.SmallInteger(), nullable=True),
        sa.Column("lane", sa.String(12), nullable=True),
        sa.Column("encoding", sa.String(8), nullable=True),
        sa.Column("format", sa.String(20), nullable=True),
        sa.Column("options", JSON_OR_NULL, nullable=True),
        sa.Column("header", sa.Text(), nullable=True),
        sa.Column("tally", JSON_OR_NULL, nullable=True),
        sa.Column("started_at", MOMENT, nullable=True),
        sa.Column("finished_at", MOMENT, nullable=True),
        sa.Column("cancel_asked_at", MOMENT, nullable=True),
        sa.Column("request_id", sa.String(200), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_submission"),
        sa.CheckConstraint("total >= 0", name=op.f("ck_submission_total")),
    )
    op.create_index("ix_submission_caller_received_at", "submission", ["caller", "received_at"])
    op.create_index("ix_submission_batch_id", "submission", ["batch_id"])
    op.create_index("ix_submission_finished_at", "submission", ["finished_at"])
    op.create_index(
        "ix_submission_cancelled_single",
        "submission",
        ["batch_id"],
        sqlite_where=sa.text("cancel_asked_at IS NOT NULL"),
        postgresql_where=sa.text("cancel_asked_at IS NOT NULL"),
    )


def _batch() -> None:
    op.create_table(
        "batch",
        sa.Column("id", COUNTED, nullable=False),
        sa.Column("submission_id", sa.Uuid(), nullable=True),
        sa.Column("ordinal", sa.Integer(), nullable=True),
        sa.Column("lane", sa.String(12), nullable=False),
        sa.Column("alone", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("requests", sa.SmallInteger(), nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
        sa.Column("announced_at", MOMENT, nullable=True),
        sa.Column("waiting_since", MOMENT, nullable=True),
        sa.Column("repeats", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("attempts", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column("parked_at", MOMENT, nullable=True),
        sa.Column("answered_at", MOMENT, nullable=True),
        sa.Column("outcomes", sa.LargeBinary(), nullable=True),
        sa.Column("tally", JSON_OR_NULL, nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_batch"),
        sa.CheckConstraint(
            "(outcomes IS NULL) = (answered_at IS NULL)", name=op.f("ck_batch_answered")
        ),
        sa.CheckConstraint("requests > 0", name=op.f("ck_batch_requests")),
        sa.ForeignKeyConstraint(
            ["submission_id"], ["submission.id"], name="fk_batch_submission_id", ondelete="CASCADE"
        ),
        sa.UniqueConstraint("submission_id", "ordinal", name="uq_batch_submission_id_ordinal"),
        sqlite_autoincrement=True,
    )
    op.create_index(
        "ix_batch_answered_singles",
        "batch",
        ["answered_at"],
        sqlite_where=sa.text("submission_id IS NULL"),
        postgresql_where=sa.text("submission_id IS NULL"),
    )
    op.create_index(
        "ix_batch_waiting",
        "batch",
        ["lane", "waiting_since", "id"],
        sqlite_where=WAITING,
        postgresql_where=WAITING,
    )


def _event() -> None:
    op.create_table(
        "event",
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("previous_id", sa.BigInteger(), nullable=True),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("course_id", sa.String(255), nullable=False),
        sa.Column("username", sa.String(255), nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.Column("submission_id", sa.Uuid(), nullable=False),
        sa.Column("line", sa.Integer(), nullable=False),
        sa.Column("caller", sa.String(255), nullable=False),
        sa.Column("before", JSON_OR_NULL, nullable=True),
        sa.Column("after", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_event"),
    )


def _feed() -> None:
    op.create_table(
        "feed",
        sa.Column("last", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("first", sa.BigInteger(), nullable=False),
        sa.Column("batch_id", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("last", name="pk_feed"),
        sa.UniqueConstraint("batch_id", name="uq_feed_batch_id"),
    )
    op.create_table(
        "feed_head",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_feed_head"),
    )


def _idempotency() -> None:
    op.create_table(
        "idempotency",
        sa.Column("caller", sa.String(255), nullable=False),
        sa.Column("key", sa.String(255), nullable=False),
        sa.Column("fingerprint", sa.LargeBinary(), nullable=False),
        sa.Column("submission_id", sa.Uuid(), nullable=False),
        sa.Column("created", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("caller", "key", name="pk_idempotency"),
    )
    op.create_index("ix_idempotency_created", "idempotency", ["created"])


def _api_key() -> None:
    op.create_table(
        "api_key",
        sa.Column("id", COUNTED, nullable=False),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("scopes", sa.JSON(), nullable=False),
        sa.Column("created", MOMENT, nullable=False),
        sa.Column("revoked_at", MOMENT, nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_api_key"),
        sa.UniqueConstraint("digest", name="uq_api_key_digest"),
    )
    op.create_table(
        "secret",
        sa.Column("name", sa.String(40), nullable=False),
        sa.Column("value", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_secret"),
    )
