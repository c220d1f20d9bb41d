"""Events: one append-only table for the history of enrollments, the change feed and the outbox."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import cache
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
    insert,
    literal,
    select,
    update,
)
from sqlalchemy.orm import Session, aliased

from enrollment.domain.codes import ChangeKind
from enrollment.domain.events import EnrollmentState, RecordedEvent
from enrollment.domain.model import Attribute
from enrollment.storage.bulk.array_params import NO_ROWS, ArrayTable, RenderedRows, as_json, as_uuid
from enrollment.storage.bulk.pipelining import Statement, pipelined
from enrollment.storage.engine.dialect import is_postgresql
from enrollment.storage.event_ids import batch_id_column, feed_position, is_event_of
from enrollment.storage.tables import (
    BigSerial,
    EventRow,
    FeedHeadRow,
    FeedRow,
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


_HEAD = FeedHeadRow.metadata.tables[FeedHeadRow.__tablename__]
_ADVANCE_HEAD = (
    update(_HEAD)
    .where(_HEAD.c.id == 1)
    .values(position=_HEAD.c.position + bindparam("number", type_=BigInteger()))
    .returning(_HEAD.c.position)
)
_INSERT_SPANS = insert(FeedRow.metadata.tables[FeedRow.__tablename__])


def assign_positions(session: Session, events_of: Mapping[int, int]) -> int:
    """Assigns feed positions to the events of each batch; must be the last before a commit.

    `events_of` maps batch ids to numbers of events, in the order in which the batches were
    processed, which need not be that of their ids. The feed's counter stays locked until the
    commit, so positions have no gaps and no reader misses one. Returns the last position.
    """
    spans = {batch: number for batch, number in events_of.items() if number}
    if not spans:
        return 0
    number_of_all = sum(spans.values())
    last: int = session.scalars(_ADVANCE_HEAD, {"number": number_of_all}).one()
    first = last - number_of_all + 1
    rows = []
    for batch_id, number in spans.items():
        rows.append({"first": first, "last": first + number - 1, "batch_id": batch_id})
        first += number
    session.execute(_INSERT_SPANS, rows if len(rows) > 1 else rows[0])
    return last


def find_callers(session: Session, event_ids: Collection[int]) -> dict[int, str]:
    """Returns the callers of events by event id, in one statement."""
    if not event_ids:
        return {}
    query = select(EventRow.id, EventRow.caller).where(EventRow.id.in_(list(event_ids)))
    return {row[0]: row[1] for row in session.execute(query)}


_POSITION = feed_position(EventRow, FeedRow).label("position")


def _events_query() -> Select[Any]:
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
        _POSITION,
    )


def _decode(row: Row[Any]) -> RecordedEvent:
    cells = tuple(row)
    return RecordedEvent._make((cells[0], ChangeKind(cells[1]), *cells[2:]))


def events_after(session: Session, position: int, *, limit: int) -> list[RecordedEvent]:
    """Returns the events after a position of the feed, in its order and without gaps."""
    rows = session.execute(
        _events_query()
        .select_from(FeedRow)
        .join(EventRow, is_event_of(EventRow.id, FeedRow.batch_id))
        .where(FeedRow.last > position, FeedRow.first <= position + limit)
        .order_by(FeedRow.first, EventRow.id)
    )
    return [event for event in map(_decode, rows) if position < event.position <= position + limit]


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
        _events_query()
        .select_from(chain)
        .join(EventRow, EventRow.id == chain.c.id)
        .join(FeedRow, FeedRow.batch_id == batch_id_column(EventRow.id))
        .order_by(_POSITION)
    )
    return [_decode(row) for row in rows]
