"""Events: history of an enrollment, feed of all, outbox; one append-only table for the three."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import cache
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import (
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
from enrollment.domain.events import RecordedEvent
from enrollment.storage.arrays import NO_ROWS, Columns, Rendered, as_json, as_uuid
from enrollment.storage.sending import Statement, sending
from enrollment.storage.sessions import is_postgresql
from enrollment.storage.tables import (
    POSITION_BITS,
    BigSerial,
    EventRow,
    FeedHeadRow,
    FeedRow,
    Moment,
)

#: Events that one answer of the history holds at most.
MAX_HISTORY = 1_000


class Event(NamedTuple):
    """One change of one enrollment, as it is kept."""

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


def event_id(batch_id: int, ordinal: int) -> int:
    """The id of a batch's n-th event."""
    return batch_id << POSITION_BITS | ordinal


_HAPPENED = Columns(
    "happened",
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
    source = _HAPPENED.table(postgresql=postgresql)
    cells: dict[str, ColumnElement[Any]] = dict(source.c)
    cells["submission_id"] = as_uuid(cells["submission_id"], postgresql=postgresql)
    for name in ("before", "after"):
        cells[name] = as_json(cells[name], postgresql=postgresql)
    kept = _HAPPENED.labels
    now = bindparam("now", type_=Moment())
    values = select(*(cells[name] for name in kept), now).order_by(source.c.ordinality)
    return insert(EventRow.__table__).from_select([*kept, "at"], values)  # type: ignore[arg-type]


def rendered(session: Session, events: Sequence[Event], *, now: datetime) -> Rendered:
    """Events as they are appended; asks the database for nothing."""
    if not events:
        return NO_ROWS
    columns = list(zip(*events, strict=True))
    columns[5] = tuple(submission.hex for submission in columns[5])
    return Rendered(len(events), {**_HAPPENED.holding(session, *columns), "now": now})


@contextmanager
def adding(session: Session, events: Rendered) -> Iterator[None]:
    """Append events in one statement, while something else is done that needs no session."""
    if not events.rows:
        yield
        return
    append = Statement(_append(postgresql=is_postgresql(session)), events.given)
    with sending(session, append):
        yield


_HEAD = FeedHeadRow.metadata.tables[FeedHeadRow.__tablename__]
_TAKE = (
    update(_HEAD)
    .where(_HEAD.c.id == 1)
    .values(position=_HEAD.c.position + bindparam("number", type_=BigInteger()))
    .returning(_HEAD.c.position)
)
_STAND = insert(FeedRow.metadata.tables[FeedRow.__tablename__])


def take_positions(session: Session, events_of: Mapping[int, int]) -> int:
    """Give the events of each batch their places in the feed; the last statement before a commit.

    ``events_of`` maps a batch to its number of events, in the order in which the batches were
    judged, which need not be that of their ids. The head is locked until the commit, so
    positions are gapless and no reader passes over one. Returns the last position.
    """
    spans = {batch: number for batch, number in events_of.items() if number}
    if not spans:
        return 0
    number_of_all = sum(spans.values())
    last: int = session.scalars(_TAKE, {"number": number_of_all}).one()
    first = last - number_of_all + 1
    rows = []
    for batch_id, number in spans.items():
        rows.append({"first": first, "last": first + number - 1, "batch_id": batch_id})
        first += number
    session.execute(_STAND, rows if len(rows) > 1 else rows[0])
    return last


_POSITION = (FeedRow.first + EventRow.id - FeedRow.batch_id * (1 << POSITION_BITS)).label(
    "position"
)


def _recorded() -> Select[Any]:
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


def _read(row: Row[Any]) -> RecordedEvent:
    cells = tuple(row)
    return RecordedEvent._make((cells[0], ChangeKind(cells[1]), *cells[2:]))


def since(session: Session, position: int, *, limit: int) -> list[RecordedEvent]:
    """The events after a position of the feed, in its order; gapless."""
    shift = 1 << POSITION_BITS
    rows = session.execute(
        _recorded()
        .join(
            EventRow,
            EventRow.id.between(
                FeedRow.batch_id * literal(shift, BigInteger()),
                FeedRow.batch_id * literal(shift, BigInteger()) + (shift - 1),
            ),
        )
        .select_from(FeedRow)
        .where(FeedRow.last > position, FeedRow.first <= position + limit)
        .order_by(FeedRow.first, EventRow.id)
    )
    return [event for event in map(_read, rows) if position < event.position <= position + limit]


def history(session: Session, newest: int) -> list[RecordedEvent]:
    """The events of one enrollment, oldest first, found from the newest back."""
    start = select(EventRow.id, EventRow.previous_id).where(EventRow.id == newest)
    chain = start.cte("chain", recursive=True)
    older = aliased(EventRow)
    chain = chain.union_all(
        select(older.id, older.previous_id).join(chain, older.id == chain.c.previous_id)
    )
    rows = session.execute(
        _recorded()
        .select_from(chain)
        .join(EventRow, EventRow.id == chain.c.id)
        .join(FeedRow, FeedRow.batch_id == EventRow.id // literal(1 << POSITION_BITS, BigInteger()))
        .order_by(_POSITION.desc())
        .limit(MAX_HISTORY)
    )
    return [_read(row) for row in rows][::-1]
