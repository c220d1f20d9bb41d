"""Reads the stored requests, batches and events of a run, independently of the service's queries."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import select
from sqlalchemy.orm import Session

from enrollment.domain.codes import Code
from enrollment.domain.events import RecordedEvent
from enrollment.domain.model import Outcome, WritePrecedence, precedence_of
from enrollment.domain.submissions import is_cancelled_as_whole
from enrollment.storage import events
from enrollment.storage.engine.sessions import Sessions
from enrollment.storage.queue.batches import intake_number
from enrollment.storage.tables import (
    BatchRow,
    CourseRow,
    EnrollmentRow,
    FeedRow,
    IdempotencyRow,
    LearnerRow,
    SubmissionRow,
)
from schemas.files.row_payload import decode_rows
from schemas.outcomes import decode_outcomes
from schemas.requests.parsed import ParsedRequest
from schemas.requests.single_payload import decode_singles

#: Events per query.
PAGE = 10_000

#: (submission, line).
Place = tuple[str, int]
#: (course, learner).
Pair = tuple[str, str]


class Mark(NamedTuple):
    """The end of the rows of earlier runs."""

    batch_id: int = 0
    position: int = 0


@dataclass(eq=False, slots=True)
class Item:
    """One stored request with its outcome."""

    submission_id: str
    line: int
    batch: Any
    #: None: the row cannot be parsed.
    request: ParsedRequest | None
    received_at: datetime
    clock: WritePrecedence
    outcome: Outcome | None
    events: list[RecordedEvent] = field(default_factory=list)

    @property
    def place(self) -> Place:
        """Returns its key in `Ledger.items`."""
        return self.submission_id, self.line


class StoredState(NamedTuple):
    """A stored enrollment with its precedence."""

    is_active: bool
    mode: str
    activity_precedence: WritePrecedence
    mode_precedence: WritePrecedence | None


@dataclass
class Ledger:
    """The rows after a mark."""

    mark: Mark
    head: int = 0
    #: Rows of the tables, by id; unpublished submissions are included.
    submissions: dict[str, Any] = field(default_factory=dict)
    batches: dict[int, Any] = field(default_factory=dict)
    items: dict[Place, Item] = field(default_factory=dict)
    items_of: dict[Pair, list[Item]] = field(default_factory=lambda: defaultdict(list))
    items_of_batch: dict[int, list[Item]] = field(default_factory=lambda: defaultdict(list))
    #: In the order of the feed.
    events: list[RecordedEvent] = field(default_factory=list)
    #: First position of each batch's events.
    spans: dict[int, int] = field(default_factory=dict)
    enrollments: dict[Pair, StoredState] = field(default_factory=dict)
    keys: dict[str, str] = field(default_factory=dict)
    #: Inconsistencies found while reading.
    inconsistencies: list[tuple[str, str]] = field(default_factory=list)


def mark(sessions: Sessions) -> Mark:
    """Returns the current end of the rows."""
    with sessions.read() as session:
        last = session.scalar(select(BatchRow.id).order_by(BatchRow.id.desc()).limit(1))
        return Mark(last or 0, events.last_position(session))


def read_ledger(sessions: Sessions, since: Mark) -> Ledger:
    """Reads everything after the mark."""
    ledger = Ledger(since)
    with sessions.read() as session:
        _read_batches(session, ledger)
        _read_submissions(session, ledger)
        _read_items(ledger)
        _read_events(session, ledger)
        _read_enrollments(session, ledger)
        rows = session.execute(select(IdempotencyRow.key, IdempotencyRow.submission_id))
        ledger.keys = {key: str(id_) for key, id_ in rows}
    return ledger


def _read_batches(session: Session, ledger: Ledger) -> None:
    rows = select(*BatchRow.__table__.c).where(BatchRow.id > ledger.mark.batch_id)
    ledger.batches = {row.id: row for row in session.execute(rows.order_by(BatchRow.id))}
    spans = select(FeedRow.batch_id, FeedRow.first).where(FeedRow.last > ledger.mark.position)
    ledger.spans = {row.batch_id: row.first for row in session.execute(spans)}


def _read_submissions(session: Session, ledger: Ledger) -> None:
    first = ledger.mark.batch_id
    files = select(BatchRow.submission_id).where(BatchRow.id > first).distinct()
    for chosen in (SubmissionRow.batch_id > first, SubmissionRow.id.in_(files)):
        for row in session.execute(select(*SubmissionRow.__table__.c).where(chosen)):
            ledger.submissions[str(row.id)] = row


def _read_items(ledger: Ledger) -> None:
    for batch in ledger.batches.values():
        items = list(_items_of(ledger, batch))
        outcomes = decode_outcomes(batch.outcomes) if batch.outcomes else []
        if outcomes and len(outcomes) != len(items):
            numbers = f"{len(outcomes)} outcomes for {len(items)} requests"
            ledger.inconsistencies.append(
                (str(items[0].submission_id), f"batch {batch.id} has {numbers}")
            )
        for item, outcome in zip(items, outcomes, strict=False):
            item.outcome = outcome
        if is_cancelled_as_whole(batch.outcomes):
            for item in items:
                item.outcome = Outcome(item.line, None, None, Code.CANCELLED)
        for item in items:
            _add(ledger, item)


def _add(ledger: Ledger, item: Item) -> None:
    if item.place in ledger.items:
        ledger.inconsistencies.append((item.submission_id, f"line {item.line} is stored twice"))
    ledger.items[item.place] = item
    ledger.items_of_batch[item.batch.id].append(item)
    if item.request is not None and item.request.username:
        ledger.items_of[item.request.course_id, item.request.username].append(item)


def _items_of(ledger: Ledger, batch: Any) -> Iterator[Item]:
    if batch.submission_id is None:
        for position, single in enumerate(decode_singles(batch.payload)):
            intake = intake_number(batch.id, position)
            id_ = str(single.submission_id)
            yield _item(id_, 1, batch, single.request, single.received_at, intake)
        return
    head = ledger.submissions[str(batch.submission_id)]
    for row in decode_rows(batch.payload, head.encoding or "", head.header):
        yield _item(str(head.id), row.line, batch, row.request, head.received_at, head.intake or 0)


def _item(
    id_: str,
    line: int,
    batch: Any,
    request: ParsedRequest | None,
    received_at: datetime,
    intake: int,
) -> Item:
    stated = None if request is None else request.requested_at
    clock = precedence_of(
        stated or received_at, stated=stated is not None, intake=intake, line=line
    )
    return Item(id_, line, batch, request, received_at, clock, None)


def _read_events(session: Session, ledger: Ledger) -> None:
    ledger.head = events.last_position(session)
    position = ledger.mark.position
    while page := events.events_after(session, position, limit=PAGE):
        ledger.events += page
        position = page[-1].position
    for event in ledger.events:
        item = ledger.items.get((str(event.submission_id), event.line))
        if item is not None:
            item.events.append(event)


def _read_enrollments(session: Session, ledger: Ledger) -> None:
    courses = {event.course_id for event in ledger.events} | {pair[0] for pair in ledger.items_of}
    numbers = select(CourseRow.id, CourseRow.course_id).where(CourseRow.course_id.in_(courses))
    for number, course_id in session.execute(numbers).all():
        rows = (
            select(LearnerRow.username, *EnrollmentRow.__table__.c)
            .join_from(EnrollmentRow, LearnerRow, LearnerRow.id == EnrollmentRow.learner_id)
            .where(EnrollmentRow.course_id == number)
        )
        for row in session.execute(rows):
            ledger.enrollments[course_id, row.username] = _stored_state(row)


def _stored_state(row: Any) -> StoredState:
    activity = WritePrecedence(row.active_at, row.active_rank, row.active_line)
    mode = (
        None if row.mode_at is None else WritePrecedence(row.mode_at, row.mode_rank, row.mode_line)
    )
    return StoredState(row.is_active, row.mode, activity, mode)
