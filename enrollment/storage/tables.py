"""Tables. Only this package uses them; other packages get domain values.

A batch stores its requests as one compact value and its outcomes as another; only the changes of a
request have rows of their own. Enrollments and events have no foreign keys: checking and locking
each referenced row would cost more than the insert.
"""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    DateTime,
    Dialect,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    String,
    Text,
    TypeDecorator,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

#: SQLite generates keys only in columns of type INTEGER.
BigSerial = BigInteger().with_variant(Integer, "sqlite")
#: `key:` or `user:` and a name of up to 255 characters; SQLite does not enforce the length.
CallerName = String(300).with_variant(String(255), "sqlite")


class UtcTimestamp(TypeDecorator[datetime]):
    """A timestamp in UTC; rejects naive values (SQLite stores no time zone)."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Converts to UTC."""
        if value is None:
            return None
        if value.tzinfo is None:
            message = f"timestamp without time zone: {value!r}"
            raise ValueError(message)
        return value.astimezone(UTC)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        """Returns UTC."""
        if value is None:
            return None
        stored: datetime = value
        return stored.replace(tzinfo=UTC) if stored.tzinfo is None else stored.astimezone(UTC)


class Base(DeclarativeBase):
    """Base of all tables; constraints have conventional names, which migrations refer to."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(column_0_N_label)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {  # noqa: RUF012 (SQLAlchemy's own form)
        datetime: UtcTimestamp(),
        str: Text(),
        bytes: LargeBinary(),
    }


class CourseRow(Base):
    """A course. `revision` rises with every change; `seats_taken` counts active enrollments."""

    __tablename__ = "course"
    __table_args__ = (
        CheckConstraint("capacity IS NULL OR capacity >= 0", name="capacity"),
        CheckConstraint("seats_taken >= 0", name="seats_taken"),
        # Ranges of bytes, for filters by the beginning of a course id.
        Index(
            "ix_course_course_id_pattern",
            "course_id",
            postgresql_ops={"course_id": "text_pattern_ops"},
        ),
    )

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    course_id: Mapped[str] = mapped_column(String(255), unique=True)
    name: Mapped[str]
    enrollment_start: Mapped[datetime | None]
    enrollment_end: Mapped[datetime | None]
    course_start: Mapped[datetime | None]
    course_end: Mapped[datetime | None]
    invite_only: Mapped[bool]
    self_paced: Mapped[bool]
    cohorts: Mapped[list[str]] = mapped_column(JSON)
    capacity: Mapped[int | None]
    seats_taken: Mapped[int] = mapped_column(Integer, server_default="0")
    revision: Mapped[int] = mapped_column(Integer, server_default="1")


class ModeRow(Base):
    """A mode of a course; `position` is its place in the order in which modes were given."""

    __tablename__ = "mode"

    course_id: Mapped[int] = mapped_column(
        ForeignKey("course.id", ondelete="CASCADE"), primary_key=True
    )
    slug: Mapped[str] = mapped_column(String(100), primary_key=True)
    position: Mapped[int] = mapped_column(SmallInteger)
    name: Mapped[str]
    min_price: Mapped[int]
    suggested_prices: Mapped[str]
    currency: Mapped[str] = mapped_column(String(8))
    expires_at: Mapped[datetime | None]
    description: Mapped[str | None]
    sku: Mapped[str | None]
    bulk_sku: Mapped[str | None]


class EditionRow(Base):
    """A number that rises with every change of any course; part of the keys of caches."""

    __tablename__ = "edition"

    name: Mapped[str] = mapped_column(String(40), primary_key=True)
    number: Mapped[int] = mapped_column(BigInteger)


class LearnerRow(Base):
    """A person who can be enrolled; the e-mail is in its canonical form."""

    __tablename__ = "learner"
    __table_args__ = (
        # Most learners have no e-mail: a partial index leaves them out.
        Index(
            "uq_learner_email",
            "email",
            unique=True,
            sqlite_where=text("email IS NOT NULL"),
            postgresql_where=text("email IS NOT NULL"),
        ),
    )

    id: Mapped[int] = mapped_column(BigSerial, primary_key=True)
    username: Mapped[str] = mapped_column(String(255), unique=True)
    email: Mapped[str | None] = mapped_column(String(255))
    is_active: Mapped[bool] = mapped_column(server_default=text("true"))
    is_staff: Mapped[bool] = mapped_column(server_default=text("false"))
    #: Asked to leave: `unenroll/` withdraws such a learner from every course.
    is_retiring: Mapped[bool] = mapped_column(server_default=text("false"))


class CourseRoleRow(Base):
    """A role of a person in one course; neither the learner nor the course need exist."""

    __tablename__ = "course_role"
    __table_args__ = (Index("ix_course_role_course_id", "course_id"),)

    username: Mapped[str] = mapped_column(String(255), primary_key=True)
    course_id: Mapped[str] = mapped_column(String(255), primary_key=True)
    role: Mapped[str] = mapped_column(String(32), primary_key=True)
    created: Mapped[datetime]


class EmailOptInRow(Base):
    """Whether a learner opted in to e-mail from an organization, or out; no row: never stated."""

    __tablename__ = "email_opt_in"

    username: Mapped[str] = mapped_column(String(255), primary_key=True)
    org: Mapped[str] = mapped_column(String(255), primary_key=True)
    is_opted_in: Mapped[bool]


class InvitationRow(Base):
    """A permission to enroll; the course need not exist yet. The e-mail is in canonical form."""

    __tablename__ = "invitation"
    __table_args__ = (Index("ix_invitation_email", "email"),)

    course_id: Mapped[str] = mapped_column(String(255), primary_key=True)
    email: Mapped[str] = mapped_column(String(255), primary_key=True)
    created: Mapped[datetime]
    expires_at: Mapped[datetime | None]
    auto_enroll: Mapped[bool]
    used_by: Mapped[str | None] = mapped_column(String(255))


class EnrollmentRow(Base):
    """The enrollment of one learner in one course.

    The precedence of a field is three numbers: microseconds since 1970, rank, line. `version` rises
    with every write; `event_id` is the newest event, from which the history is read backwards.
    `extras` has attributes and cohort with their precedence; it is null for most enrollments.
    """

    __tablename__ = "enrollment"
    __table_args__ = (
        # The order of a list: the enrollments of one file are equally old, and many.
        Index("ix_enrollment_course_id_created", "course_id", "created"),
        Index("ix_enrollment_created", "created"),
        {"postgresql_with": {"fillfactor": "90"}},
    )

    learner_id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    course_id: Mapped[int] = mapped_column(Integer, primary_key=True)
    mode: Mapped[str] = mapped_column(String(100))
    is_active: Mapped[bool]
    created: Mapped[datetime]
    version: Mapped[int] = mapped_column(Integer)
    event_id: Mapped[int] = mapped_column(BigInteger)
    active_at: Mapped[int] = mapped_column(BigInteger)
    active_rank: Mapped[int] = mapped_column(BigInteger)
    active_line: Mapped[int] = mapped_column(Integer)
    mode_at: Mapped[int | None] = mapped_column(BigInteger)
    mode_rank: Mapped[int | None] = mapped_column(BigInteger)
    mode_line: Mapped[int | None] = mapped_column(Integer)
    extras: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))


def _partial_index(name: str, condition: str) -> Index:
    """Returns an index of those of a caller's submissions, by time, that fulfil a condition."""
    where = text(condition)
    return Index(name, "caller", "received_at", sqlite_where=where, postgresql_where=where)


class SubmissionRow(Base):
    """A single request or a file of one caller.

    The state of a single is that of its batch; the state of a file is stored here after each batch.
    `published_at` is null until the last batch is stored: workers do not see the file before. A
    file with `finished_at` and without `published_at` is being deleted (`retention`).
    """

    __tablename__ = "submission"
    __table_args__ = (
        Index("ix_submission_caller_received_at", "caller", "received_at"),
        Index("ix_submission_batch_id", "batch_id"),
        Index("ix_submission_finished_at", "finished_at"),
        Index(
            "ix_submission_cancelled_single",
            "batch_id",
            sqlite_where=text("cancel_asked_at IS NOT NULL"),
            postgresql_where=text("cancel_asked_at IS NOT NULL"),
        ),
        _partial_index("ix_submission_open_file", "batch_id IS NULL AND finished_at IS NULL"),
        _partial_index("ix_submission_cancelled", "cancel_asked_at IS NOT NULL"),
        Index(
            "ix_submission_unpublished",
            "received_at",
            sqlite_where=text("published_at IS NULL"),
            postgresql_where=text("published_at IS NULL"),
        ),
        CheckConstraint("total >= 0", name="total"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(String(8))
    caller: Mapped[str] = mapped_column(CallerName)
    caller_kind: Mapped[str] = mapped_column(String(8))
    received_at: Mapped[datetime]
    published_at: Mapped[datetime | None]
    total: Mapped[int]
    #: Position in the order of intake: the number of its first request.
    intake: Mapped[int | None] = mapped_column(BigInteger)
    #: Of a single: its batch, and its position there.
    batch_id: Mapped[int | None] = mapped_column(BigInteger)
    position: Mapped[int | None] = mapped_column(SmallInteger)
    lane: Mapped[str | None] = mapped_column(String(12))
    #: How a file's rows are stored: csv, ndjson or json.
    encoding: Mapped[str | None] = mapped_column(String(8))
    #: The format of the columns.
    format: Mapped[str | None] = mapped_column(String(20))
    options: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    #: The header line of a CSV file, as sent.
    header: Mapped[str | None]
    #: The files of an archive: name, lines before it, encoding, format, header.
    files: Mapped[list[Any] | None] = mapped_column(JSON(none_as_null=True))
    #: Names of the columns of its files that are not read.
    ignored_columns: Mapped[list[str] | None] = mapped_column(JSON(none_as_null=True))
    #: {"enrolled": n, …, "reasons": {code: n}}, of the batches completed so far.
    tally: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    #: Number of learners that a file registered so far.
    learners_created: Mapped[int] = mapped_column(Integer, server_default="0")
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    cancel_asked_at: Mapped[datetime | None]
    request_id: Mapped[str | None] = mapped_column(String(200))
    #: The context of the trace of the request that handed it in (W3C), if traces are on.
    traceparent: Mapped[str | None] = mapped_column(String(55))


class BatchRow(Base):
    """Up to 1,000 requests: the unit of queueing, of work and of commit.

    `announced_at`, the time of the dispatch, is null until it is the batch's turn: the first batch
    of a file is dispatched when the file is published, each other one when the previous one is
    completed. So the batches of a file cannot be processed out of order. `answered_at` is the time
    of completion.
    """

    __tablename__ = "batch"
    __table_args__ = (
        UniqueConstraint("submission_id", "ordinal"),
        CheckConstraint("requests > 0", name="requests"),
        CheckConstraint("(outcomes IS NULL) = (answered_at IS NULL)", name="answered"),
        Index(
            "ix_batch_answered_singles",
            "answered_at",
            sqlite_where=text("submission_id IS NULL"),
            postgresql_where=text("submission_id IS NULL"),
        ),
        Index(
            "ix_batch_waiting",
            "lane",
            "waiting_since",
            "id",
            sqlite_where=text("answered_at IS NULL AND announced_at IS NOT NULL"),
            postgresql_where=text("answered_at IS NULL AND announced_at IS NOT NULL"),
        ),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(BigSerial, primary_key=True)
    #: Null for a batch of singles, each of which is a submission of its own.
    submission_id: Mapped[UUID | None] = mapped_column(
        ForeignKey("submission.id", ondelete="CASCADE")
    )
    ordinal: Mapped[int | None]
    lane: Mapped[str] = mapped_column(String(12))
    #: Processed by itself: all or nothing, or it failed before.
    alone: Mapped[bool] = mapped_column(server_default=text("false"))
    requests: Mapped[int] = mapped_column(SmallInteger)
    payload: Mapped[bytes]
    announced_at: Mapped[datetime | None]
    #: Time of the first dispatch.
    waiting_since: Mapped[datetime | None]
    #: Number of re-dispatches.
    repeats: Mapped[int] = mapped_column(Integer, server_default="0")
    #: Attempts that failed or did not end.
    attempts: Mapped[int] = mapped_column(SmallInteger, server_default="0")
    #: State of the search for the request that makes the batch fail.
    suspicion: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    parked_at: Mapped[datetime | None]
    answered_at: Mapped[datetime | None]
    #: Empty: cancelled as a whole (`is_cancelled_as_whole`).
    outcomes: Mapped[bytes | None]
    #: {"enrolled": n, …}: lets readers skip batches without the outcomes they filter by.
    tally: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))


class EventRow(Base):
    """One change of one enrollment; never updated, never deleted.

    `id` is composed of the batch's id and the event's ordinal in the batch (`event_ids`).
    `previous_id` is the previous event of the same enrollment, so the history needs no index.
    """

    __tablename__ = "event"

    id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    previous_id: Mapped[int | None] = mapped_column(BigInteger)
    kind: Mapped[str] = mapped_column(String(16))
    course_id: Mapped[str] = mapped_column(String(255))
    username: Mapped[str] = mapped_column(String(255))
    at: Mapped[datetime]
    submission_id: Mapped[UUID]
    line: Mapped[int]
    caller: Mapped[str] = mapped_column(CallerName)
    before: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    after: Mapped[dict[str, Any]] = mapped_column(JSON)


class FeedRow(Base):
    """The positions of one batch's events in the change feed, first to last.

    Only ever appended to: the newest row is the end of the feed (`events.assign_positions`).
    """

    __tablename__ = "feed"

    #: Position of the batch's last event; positions have no gaps and begin at 1.
    last: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    first: Mapped[int] = mapped_column(BigInteger)
    batch_id: Mapped[int] = mapped_column(BigInteger, unique=True)


class RelayPositionRow(Base):
    """How far the relay has published the change feed to one channel, and which relay does it.

    `holder` publishes to the channel until `held_until`; it renews that with every position.
    """

    __tablename__ = "relay_position"

    channel: Mapped[str] = mapped_column(String(40), primary_key=True)
    #: Position of the last event that was published; 0 before the first.
    position: Mapped[int] = mapped_column(BigInteger)
    moved_at: Mapped[datetime | None]
    holder: Mapped[str | None] = mapped_column(String(64))
    held_until: Mapped[datetime | None]


class InstallationRow(Base):
    """The random id of this installation; one row. Restored with a backup, it stays the same.

    `signing_kid` is the id of the key that its gateways made to sign tokens with; null before that,
    and where the key is configured.
    """

    __tablename__ = "installation"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    signing_kid: Mapped[str | None] = mapped_column(String(16))


class MaintenanceRow(Base):
    """A recurring task that is done in turns; it exists once for each name.

    `turn` rises with every turn: the number of the turn that may run next. `turn_at` is the time of
    the last one while there is more to do, else null. `ended_at` is when nothing was left to do;
    at first, when the row was made.
    """

    __tablename__ = "maintenance"

    name: Mapped[str] = mapped_column(String(40), primary_key=True)
    turn: Mapped[int] = mapped_column(BigInteger, server_default="0")
    turn_at: Mapped[datetime | None]
    ended_at: Mapped[datetime]


class CrosswalkRow(Base):
    """Maps an id of another system to an id of this service."""

    __tablename__ = "crosswalk"
    __table_args__ = (Index("ix_crosswalk_source_kind_ours", "source", "kind", "ours"),)

    source: Mapped[str] = mapped_column(String(100), primary_key=True)
    kind: Mapped[str] = mapped_column(String(8), primary_key=True)
    theirs: Mapped[str] = mapped_column(String(255), primary_key=True)
    ours: Mapped[str] = mapped_column(String(255))


class RecordStatesRow(Base):
    """Which records of a batch keep their learners; only of files that end a record."""

    __tablename__ = "record_states"

    submission_id: Mapped[UUID] = mapped_column(
        ForeignKey("submission.id", ondelete="CASCADE"), primary_key=True
    )
    ordinal: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    states: Mapped[bytes]


class IdempotencyRow(Base):
    """An Idempotency-Key of a caller, and the request that it was used for."""

    __tablename__ = "idempotency"
    __table_args__ = (Index("ix_idempotency_created", "created"),)

    caller: Mapped[str] = mapped_column(CallerName, primary_key=True)
    key: Mapped[str] = mapped_column(String(255), primary_key=True)
    #: SHA-256 of method, path, query, media type and decoded body.
    fingerprint: Mapped[bytes]
    submission_id: Mapped[UUID]
    created: Mapped[datetime]


class ReplyRow(Base):
    """A reply that is owed: outcomes of a submission for a Redis stream, until it is delivered.

    `sent_id` is the id that the sender gave its message.
    """

    __tablename__ = "reply"
    __table_args__ = (UniqueConstraint("submission_id", "stream", "sent_id"),)

    id: Mapped[int] = mapped_column(BigSerial, primary_key=True)
    submission_id: Mapped[UUID] = mapped_column(ForeignKey("submission.id", ondelete="CASCADE"))
    stream: Mapped[str] = mapped_column(String(255))
    sent_id: Mapped[str] = mapped_column(String(255))


class ProcessHeartbeatRow(Base):
    """A worker or beat, when it was seen last. It is deleted when the process ends by itself."""

    __tablename__ = "process_heartbeat"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(String(20))
    name: Mapped[str] = mapped_column(String(255))
    host: Mapped[str] = mapped_column(String(255))
    pid: Mapped[int] = mapped_column(BigInteger)
    version: Mapped[str] = mapped_column(String(100))
    lanes: Mapped[list[str]] = mapped_column(JSON)
    since: Mapped[datetime]
    last_seen: Mapped[datetime]
    batches: Mapped[int] = mapped_column(BigInteger)


class ApiKeyRow(Base):
    """An API key of a server; only its hash is stored."""

    __tablename__ = "api_key"

    id: Mapped[int] = mapped_column(BigSerial, primary_key=True)
    name: Mapped[str] = mapped_column(String(200))
    digest: Mapped[bytes] = mapped_column(unique=True)
    scopes: Mapped[list[str]] = mapped_column(JSON)
    created: Mapped[datetime]
    revoked_at: Mapped[datetime | None]
    expires_at: Mapped[datetime | None]
    #: At most a minute old while the key is in use.
    last_used_at: Mapped[datetime | None]


class OAuthClientRow(Base):
    """A program that gets tokens with an id and a secret; only the hash of the secret is stored.

    Its tokens are those of `username`. Tokens of a revoked client end with it.
    """

    __tablename__ = "oauth_client"

    id: Mapped[int] = mapped_column(BigSerial, primary_key=True)
    client_id: Mapped[str] = mapped_column(String(255), unique=True)
    digest: Mapped[bytes]
    username: Mapped[str] = mapped_column(String(255))
    is_staff: Mapped[bool]
    created: Mapped[datetime]
    revoked_at: Mapped[datetime | None]
    #: At most a minute old while the client is in use.
    last_used_at: Mapped[datetime | None]


class ConsoleSessionRow(Base):
    """A session of the console, from log-in to log-out; its id is known to the browser only."""

    __tablename__ = "console_session"

    #: SHA-256 of the id.
    digest: Mapped[bytes] = mapped_column(primary_key=True)
    caller: Mapped[str] = mapped_column(CallerName)
    started_at: Mapped[datetime]
    expires_at: Mapped[datetime] = mapped_column(index=True)


class SecretRow(Base):
    """Random values that are written and deleted again, to test whether a write succeeds.

    Invariant: it holds no credential. (Earlier releases stored a signing key here.)
    """

    __tablename__ = "secret"

    name: Mapped[str] = mapped_column(String(40), primary_key=True)
    value: Mapped[bytes]


class WebhookRow(Base):
    """An endpoint of another system to which messages are sent.

    `leased_until` is set while a process sends to it, so that only one does; `not_before` while
    it rests after a failure.
    """

    __tablename__ = "webhook"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    url: Mapped[str] = mapped_column(Text)
    description: Mapped[str | None]
    #: Filters: empty for all.
    types: Mapped[list[str]] = mapped_column(JSON)
    courses: Mapped[list[str]] = mapped_column(JSON)
    callers: Mapped[list[str]] = mapped_column(JSON)
    #: Encrypted, both.
    secret: Mapped[str]
    previous_secret: Mapped[str | None]
    previous_until: Mapped[datetime | None]
    created: Mapped[datetime]
    #: Null while it is enabled, else why and since when it is not.
    disabled_reason: Mapped[str | None] = mapped_column(String(40))
    disabled_at: Mapped[datetime | None]
    #: The end of the feed when it was made: it receives what came later.
    since: Mapped[int] = mapped_column(BigInteger)
    #: Failed attempts since the last success.
    failures: Mapped[int] = mapped_column(Integer, server_default="0")
    not_before: Mapped[datetime | None]
    leased_until: Mapped[datetime | None]
    #: The one that added it; null before that was stored.
    caller: Mapped[str | None] = mapped_column(CallerName)


class WebhookDeliveryRow(Base):
    """One message for one endpoint, with its last attempt."""

    __tablename__ = "webhook_delivery"
    __table_args__ = (
        UniqueConstraint("webhook_id", "message_id"),
        Index("ix_webhook_delivery_list", "webhook_id", "state", "id"),
        Index(
            "ix_webhook_delivery_due",
            "webhook_id",
            "next_attempt_at",
            sqlite_where=text("state = 'pending'"),
            postgresql_where=text("state = 'pending'"),
        ),
        Index(
            "ix_webhook_delivery_order",
            "webhook_id",
            "order_key",
            "id",
            sqlite_where=text("state = 'pending'"),
            postgresql_where=text("state = 'pending'"),
        ),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(BigSerial, primary_key=True)
    webhook_id: Mapped[UUID] = mapped_column(ForeignKey("webhook.id", ondelete="CASCADE"))
    message_id: Mapped[UUID]
    type: Mapped[str] = mapped_column(String(40))
    #: Position in the feed, from which the message is rendered; else it is in `body`.
    position: Mapped[int | None] = mapped_column(BigInteger)
    body: Mapped[str | None]
    #: Hash of the subject: messages of one subject are sent in order.
    order_key: Mapped[int] = mapped_column(BigInteger)
    state: Mapped[str] = mapped_column(String(10))
    attempts: Mapped[int] = mapped_column(Integer, server_default="0")
    created: Mapped[datetime]
    #: Null when it is not pending.
    next_attempt_at: Mapped[datetime | None]
    attempted_at: Mapped[datetime | None]
    #: Status of the last answer, its first bytes, or why there was none.
    status: Mapped[int | None]
    answer: Mapped[str | None]
    error: Mapped[str | None] = mapped_column(String(40))


class WebhookPositionRow(Base):
    """How far a source of messages was read: the feed, or the submissions that are done."""

    __tablename__ = "webhook_position"

    name: Mapped[str] = mapped_column(String(40), primary_key=True)
    position: Mapped[int] = mapped_column(BigInteger, server_default="0")
    read_until: Mapped[datetime | None]


class DestinationRow(Base):
    """A system that must end in the same state.

    `leased_until` is set while a process sends to it, so that only one does; `not_before` while
    it rests after a failure, or because of its rate.
    """

    __tablename__ = "destination"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(40), unique=True)
    kind: Mapped[str] = mapped_column(String(20))
    url: Mapped[str] = mapped_column(Text)
    #: Encrypted JSON object with the credentials.
    auth: Mapped[str]
    #: Filter: empty for all.
    courses: Mapped[list[str]] = mapped_column(JSON)
    concurrency: Mapped[int] = mapped_column(Integer)
    requests_per_second: Mapped[float | None] = mapped_column(Float)
    is_paused: Mapped[bool]
    pull_courses_every: Mapped[int | None] = mapped_column(Integer)
    created: Mapped[datetime]
    #: The end of the feed when it was made: it receives what came later.
    since: Mapped[int] = mapped_column(BigInteger)
    #: Slices of deliveries in a row in which nothing arrived.
    failures: Mapped[int] = mapped_column(Integer, server_default="0")
    not_before: Mapped[datetime | None]
    leased_until: Mapped[datetime | None]


class DestinationDeliveryRow(Base):
    """An enrollment that was changed since a destination was made, and is to arrive there.

    A later change of the enrollment changes this row, so that only the last state is sent.
    """

    __tablename__ = "destination_delivery"
    __table_args__ = (
        UniqueConstraint("destination_id", "course_id", "username"),
        Index("ix_destination_delivery_list", "destination_id", "state", "id"),
        Index(
            "ix_destination_delivery_due",
            "destination_id",
            "next_attempt_at",
            sqlite_where=text("state = 'pending'"),
            postgresql_where=text("state = 'pending'"),
        ),
        Index("ix_destination_delivery_enrollment", "username", "course_id"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(BigSerial, primary_key=True)
    destination_id: Mapped[UUID] = mapped_column(ForeignKey("destination.id", ondelete="CASCADE"))
    course_id: Mapped[str] = mapped_column(String(255))
    username: Mapped[str] = mapped_column(String(255))
    #: Position in the feed of the last change.
    position: Mapped[int] = mapped_column(BigInteger)
    #: Rises with every change: an attempt counts for the version that was sent.
    version: Mapped[int] = mapped_column(Integer, server_default="1")
    #: Whether a change that has not arrived was forced.
    is_forced: Mapped[bool]
    #: Position of the last change that arrived.
    arrived_position: Mapped[int | None] = mapped_column(BigInteger)
    state: Mapped[str] = mapped_column(String(10))
    #: Attempts since the last change.
    attempts: Mapped[int] = mapped_column(Integer, server_default="0")
    #: Since when a change waits; of an enrollment that waits, of the first change.
    created: Mapped[datetime]
    #: Null when it is not pending.
    next_attempt_at: Mapped[datetime | None]
    attempted_at: Mapped[datetime | None]
    #: Status of the last answer, its first bytes, or why there was none.
    status: Mapped[int | None]
    answer: Mapped[str | None]
    error: Mapped[str | None] = mapped_column(Text)


class DestinationReportRow(Base):
    """A job that compares with a destination, or reads it; `leased_by` is the process at it."""

    __tablename__ = "destination_report"
    __table_args__ = (
        Index("ix_destination_report_list", "destination_id", "created"),
        Index("ix_destination_report_due", "state", "created"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    destination_id: Mapped[UUID] = mapped_column(ForeignKey("destination.id", ondelete="CASCADE"))
    kind: Mapped[str] = mapped_column(String(10))
    is_applied: Mapped[bool]
    state: Mapped[str] = mapped_column(String(10))
    created: Mapped[datetime]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    leased_until: Mapped[datetime | None]
    leased_by: Mapped[str | None] = mapped_column(String(64))
    error: Mapped[str | None]
    counts: Mapped[dict[str, int]] = mapped_column(JSON)
    #: Where an import goes on if it is interrupted, in a form of the kind of destination.
    place: Mapped[str | None] = mapped_column(Text)


class DestinationDifferenceRow(Base):
    """An enrollment that differs between here and a destination, in one report."""

    __tablename__ = "destination_difference"

    report_id: Mapped[UUID] = mapped_column(
        ForeignKey("destination_report.id", ondelete="CASCADE"), primary_key=True
    )
    number: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    kind: Mapped[str] = mapped_column(String(20))
    course_id: Mapped[str] = mapped_column(String(255))
    username: Mapped[str] = mapped_column(String(255))
    mode_here: Mapped[str | None] = mapped_column(String(100))
    is_active_here: Mapped[bool | None]
    mode_there: Mapped[str | None] = mapped_column(String(100))
    is_active_there: Mapped[bool | None]
    is_queued: Mapped[bool]
