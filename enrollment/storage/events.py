"""Events: one append-only table for the history of enrollments, the change feed and the outbox."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import cache
from itertools import accumulate
from typing import Any, NamedTuple
from uuid import UUID

import orjson
from sqlalchemy import (
    CTE,
    BigInteger,
    ColumnElement,
    Executable,
    Integer,
    Row,
    Select,
    String,
    Text,
    bindparam,
    case,
    func,
    insert,
    literal,
    select,
)
from sqlalchemy.orm import Session, aliased
from sqlalchemy.sql.dml import ReturningInsert

from enrollment.domain.codes import ChangeKind
from enrollment.domain.events import EnrollmentState, RecordedEvent
from enrollment.domain.model import Attribute
from enrollment.storage.bulk.array_params import NO_ROWS, ArrayTable, RenderedRows, as_json, as_uuid
from enrollment.storage.bulk.pipelining import Statement, pipelined
from enrollment.storage.engine.dialect import is_postgresql
from enrollment.storage.engine.error_mapping import unique_violation_as_conflict
from enrollment.storage.event_ids import batch_id_column, feed_position, is_event_between
from enrollment.storage.tables import (
    BigSerial,
    EventRow,
    FeedRow,
    SubmissionRow,
    UtcTimestamp,
)

#: Most events of an enrollment's history that are returned.
MAX_HISTORY = 1_000


class NewEvent(NamedTuple):
    """One change of one enrollment, to be inserted."""

    id: int
    previous_id: int | None
    kind: ChangeKind
    course_id: str
    username: str
    submission_id: UUID
    line: int
    caller: str
    #: JSON texts of the state.
    before: str | None
    after: str


def encode_state(state: EnrollmentState) -> str:
    """Returns a state as the JSON text that events store; members without a value are left out."""
    members: dict[str, object] = {"mode": state.mode, "is_active": state.is_active}
    if state.attributes:
        members["attributes"] = [attribute._asdict() for attribute in state.attributes]
    if state.cohort is not None:
        members["cohort"] = state.cohort
    return orjson.dumps(members).decode()


def decode_state(stored: str) -> EnrollmentState:
    """Returns the state in a JSON text. Raises ValueError if the text contains none."""
    try:
        members = orjson.loads(stored)
        attributes = tuple(Attribute(**each) for each in members.get("attributes", ()))
        cohort = members.get("cohort")
        return EnrollmentState(members["mode"], members["is_active"], attributes, cohort)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        message = f"not the state of an enrollment: {stored!r}"
        raise ValueError(message) from error


_NEW_EVENTS = ArrayTable(
    "new_events",
    id=BigSerial,
    previous_id=BigSerial,
    kind=String(),
    course_id=String(),
    username=String(),
    submission_id=Text(),
    line=Integer(),
    caller=String(),
    before=Text(),
    after=Text(),
)


@cache
def _append(*, postgresql: bool) -> Executable:
    source = _NEW_EVENTS.table(postgresql=postgresql)
    cells: dict[str, ColumnElement[Any]] = dict(source.c)
    cells["submission_id"] = as_uuid(cells["submission_id"], postgresql=postgresql)
    for name in ("before", "after"):
        cells[name] = as_json(cells[name], postgresql=postgresql)
    names = _NEW_EVENTS.column_names
    now = bindparam("now", type_=UtcTimestamp())
    values = select(*(cells[name] for name in names), now).order_by(source.c.ordinality)
    return insert(EventRow.__table__).from_select([*names, "at"], values)  # type: ignore[arg-type]


def render_events(session: Session, events: Sequence[NewEvent], *, now: datetime) -> RenderedRows:
    """Converts events to statement parameters; sends nothing to the database."""
    if not events:
        return NO_ROWS
    columns = list(zip(*events, strict=True))
    columns[5] = tuple(submission.hex for submission in columns[5])
    return RenderedRows(len(events), {**_NEW_EVENTS.parameters(session, *columns), "now": now})


@contextmanager
def append_pipelined(session: Session, events: RenderedRows) -> Iterator[None]:
    """Inserts events in one statement while the block runs, which must not use the session."""
    if not events.rows:
        yield
        return
    append = Statement(_append(postgresql=is_postgresql(session)), events.parameters)
    with pipelined(session, append):
        yield


#: Key of an advisory lock, held from the assignment of feed positions to the end of a transaction.
POSITIONS_LOCK = 7_316_455_022_103
_LOCK_POSITIONS = select(func.pg_advisory_xact_lock(POSITIONS_LOCK))
_FEED = FeedRow.metadata.tables[FeedRow.__tablename__]
_LAST_POSITION = select(_FEED.c.last).order_by(_FEED.c.last.desc()).limit(1)
#: Spans to be inserted: positions are counted from the end of the feed.
_NEW_SPANS = ArrayTable("new_spans", first=BigInteger(), last=BigInteger(), batch_id=BigInteger())


@cache
def _insert_spans(*, postgresql: bool) -> ReturningInsert[int]:
    spans = _NEW_SPANS.table(postgresql=postgresql)
    end = func.coalesce(_LAST_POSITION.scalar_subquery(), 0)
    values = select(end + spans.c.first, end + spans.c.last, spans.c.batch_id)
    return insert(_FEED).from_select(["first", "last", "batch_id"], values).returning(_FEED.c.last)


def last_position(session: Session) -> int:
    """Returns the last position of the feed; 0 if it is empty."""
    return session.scalar(_LAST_POSITION) or 0


def assign_positions(session: Session, events_of: Mapping[int, int]) -> int:
    """Assigns feed positions to the events of each batch; must be the last before a commit.

    `events_of` maps batch ids to numbers of events, in the order in which the batches were
    processed, which need not be that of their ids. One transaction after the other reads the end of
    the feed and appends to it, and no other reads it before the first has committed: so positions
    have no gaps and no reader misses one. PostgreSQL has a lock for that, SQLite a single writer.
    Returns the last position. Raises Conflict if another transaction assigned the same positions:
    at a stricter isolation level than PostgreSQL's default it is not seen.
    """
    spans = {batch: number for batch, number in events_of.items() if number}
    if not spans:
        return 0
    lasts = list(accumulate(spans.values()))
    firsts = [1, *(last + 1 for last in lasts[:-1])]
    postgresql = is_postgresql(session)
    if postgresql:
        session.execute(_LOCK_POSITIONS)
    # A statement of its own: it sees what was committed while this one waited for the lock.
    parameters = _NEW_SPANS.parameters(session, firsts, lasts, list(spans))
    with unique_violation_as_conflict():
        return max(session.scalars(_insert_spans(postgresql=postgresql), parameters))


def find_callers(session: Session, event_ids: Collection[int]) -> dict[int, str]:
    """Returns the callers of events by event id, in one statement."""
    if not event_ids:
        return {}
    query = select(EventRow.id, EventRow.caller).where(EventRow.id.in_(list(event_ids)))
    return {row[0]: row[1] for row in session.execute(query)}


def _events_query(feed: Any) -> Select[Any]:
    """Selects events with their positions; `feed` is the table of spans, or its columns.

    The caller joins the submissions (`_WITH_SUBMISSION`), which may be purged.
    """
    return select(
        EventRow.id,
        EventRow.kind,
        EventRow.course_id,
        EventRow.username,
        EventRow.at,
        EventRow.submission_id,
        EventRow.line,
        EventRow.caller,
        EventRow.before,
        EventRow.after,
        feed_position(EventRow, feed).label("position"),
        SubmissionRow.request_id,
    )


_WITH_SUBMISSION = (SubmissionRow, SubmissionRow.id == EventRow.submission_id)


def _decode(row: Row[Any]) -> RecordedEvent:
    cells = tuple(row)
    return RecordedEvent._make((cells[0], ChangeKind(cells[1]), *cells[2:]))


def events_after(session: Session, position: int, *, limit: int) -> list[RecordedEvent]:
    """Returns the events after a position of the feed, in its order and without gaps."""
    end = position + limit
    # Each span has an event at least. Without a limit of spans all of them would be read.
    spans = (
        select(FeedRow.first, FeedRow.last, FeedRow.batch_id)
        .where(FeedRow.last > position)
        .order_by(FeedRow.last)
        .limit(limit)
        .subquery("spans")
    )
    first = case((spans.c.first > position, 0), else_=position + 1 - spans.c.first)
    last = case((spans.c.last <= end, spans.c.last), else_=end) - spans.c.first
    rows = session.execute(
        _events_query(spans.c)
        .select_from(spans)
        .join(EventRow, is_event_between(EventRow.id, spans.c.batch_id, first, last))
        .outerjoin(*_WITH_SUBMISSION)
        .order_by(spans.c.last, EventRow.id)
        .limit(limit)
    )
    return [_decode(row) for row in rows]


def event_chain(newest: int, *, max_events: int) -> CTE:
    """Returns a recursive query: the ids of an event and of those before it in its chain.

    The bound ends chains that are circular, too.
    """
    start = select(EventRow.id, EventRow.previous_id, literal(1).label("steps"))
    chain = start.where(EventRow.id == newest).cte("chain", recursive=True)
    older = aliased(EventRow)
    return chain.union_all(
        select(older.id, older.previous_id, chain.c.steps + 1)
        .join(chain, older.id == chain.c.previous_id)
        .where(chain.c.steps < max_events)
    )


def history(session: Session, newest: int) -> list[RecordedEvent]:
    """Returns the last events of an enrollment, oldest first; `newest` is the id of the newest."""
    chain = event_chain(newest, max_events=MAX_HISTORY)
    rows = session.execute(
        _events_query(FeedRow)
        .select_from(chain)
        .join(EventRow, EventRow.id == chain.c.id)
        .join(FeedRow, FeedRow.batch_id == batch_id_column(EventRow.id))
        .outerjoin(*_WITH_SUBMISSION)
        .order_by(feed_position(EventRow, FeedRow))
    )
    return [_decode(row) for row in rows]
