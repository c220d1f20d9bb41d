"""Indexes a history: attempts by key and id, reads, faults."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from tests.fault_lab.history import Op, Phase, Record
from tests.fault_lab.load.client import FIRST_LINE, RequestedChange

_POSTS = frozenset({Op.SINGLE, Op.FILE})


@dataclass(eq=False)
class Attempt:
    """Everything that clients know about one Idempotency-Key."""

    key: str
    op: Op
    changes: list[RequestedChange]
    poison: bool
    #: When it was first sent.
    sent: float
    #: When the first 202 arrived.
    accepted_at: float | None = None
    ids: dict[str, None] = field(default_factory=dict)
    #: Statuses of answers that prove that it was not stored.
    refused: list[int] = field(default_factory=list)
    #: Number of sends with an unknown result.
    unknown: int = 0
    #: Number of replays after an unknown result.
    replayed_unknown: int = 0
    #: When a read first showed the state ``done``.
    seen_done: float | None = None

    @property
    def id(self) -> str | None:
        """Returns the submission id."""
        return next(iter(self.ids), None)

    def changes_by_line(self) -> Iterator[tuple[int, RequestedChange]]:
        """Yields each change with the line number of its outcome."""
        return enumerate(self.changes, FIRST_LINE if self.op is Op.FILE else 1)


class Read(NamedTuple):
    """One read of the service; ``began`` is when it was sent."""

    record: Record
    began: float

    @property
    def ended(self) -> float:
        """Returns when it was answered."""
        return self.record.t


class Capacity(NamedTuple):
    """A capacity, and the time in which it may have been in force."""

    seats: int | None
    since: float
    until: float


@dataclass
class HistoryIndex:
    """A history, by what its records are about."""

    began: float = 0.0
    keys: dict[str, Attempt] = field(default_factory=dict)
    by_id: dict[str, Attempt] = field(default_factory=dict)
    #: Uses of a key with another body, and their answers.
    reuses: list[Record] = field(default_factory=list)
    statuses: dict[str, list[Read]] = field(default_factory=lambda: defaultdict(list))
    outcomes: dict[str, list[Read]] = field(default_factory=lambda: defaultdict(list))
    enrollments: list[Read] = field(default_factory=list)
    feed: list[Read] = field(default_factory=list)
    courses: dict[str, list[Record]] = field(default_factory=lambda: defaultdict(list))
    latencies: list[float] = field(default_factory=list)
    started: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    witnessed: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    healed: float | None = None
    settled: float | None = None
    #: Records by key and by id, for timelines.
    about: dict[str, list[Record]] = field(default_factory=lambda: defaultdict(list))

    def accepted(self) -> list[Attempt]:
        """Returns the attempts that were answered 202."""
        return [attempt for attempt in self.keys.values() if attempt.ids]

    def capacities(self, course_id: str) -> list[Capacity]:
        """Returns every capacity that a course had or may have had."""
        return list(_capacities(self.courses.get(course_id, [])))

    def is_plain(self, course_id: str) -> bool:
        """Returns whether nothing but its seats limits a course."""
        saved = self.courses.get(course_id, [])
        return bool(saved) and all(record.facts["is_plain"] for record in saved)


def max_capacity(capacities: Iterable[Capacity]) -> int | None:
    """Returns the greatest capacity; None if one is unlimited or none is known."""
    seats = [one.seats for one in capacities]
    known = [number for number in seats if number is not None]
    return max(known) if known and len(known) == len(seats) else None


def index_history(records: Iterable[Record]) -> HistoryIndex:
    """Builds the index of a history."""
    index = HistoryIndex()
    for record in records:
        index.began = index.began or record.t
        for name in {record.key, record.id} - {None}:
            index.about[str(name)].append(record)
        _HANDLERS.get(record.op, _nothing)(index, record)
    return index


def _nothing(index: HistoryIndex, record: Record) -> None:
    if record.facts.get("what") == "settled":
        index.settled = record.t


def _on_request(index: HistoryIndex, record: Record) -> None:
    key = str(record.key)
    attempt = index.keys.get(key)
    if record.phase is Phase.INVOKE:
        if attempt is None:
            changes = [RequestedChange._make(change) for change in record.facts["changes"]]
            poison = bool(record.facts.get("poison"))
            index.keys[key] = Attempt(key, record.op, changes, poison, record.t)
    elif attempt is None:
        message = f"line {record.number} answers a request that was never sent"
        raise ValueError(message)
    elif record.phase is Phase.OK:
        _on_accepted(index, attempt, record)
    elif record.phase is Phase.FAIL:
        attempt.refused.append(record.status or 0)
    else:
        attempt.unknown += 1


def _on_accepted(index: HistoryIndex, attempt: Attempt, record: Record) -> None:
    attempt.accepted_at = record.t if attempt.accepted_at is None else attempt.accepted_at
    if not attempt.ids and attempt.unknown and record.facts.get("replayed"):
        attempt.replayed_unknown += 1
    attempt.ids[str(record.id)] = None
    index.by_id.setdefault(str(record.id), attempt)
    index.latencies.append(record.facts.get("seconds", 0.0))


def _on_reuse(index: HistoryIndex, record: Record) -> None:
    if record.phase in {Phase.OK, Phase.FAIL}:
        index.reuses.append(record)


def _read(record: Record) -> Read:
    return Read(record, record.facts.get("began", record.t))


def _status(index: HistoryIndex, record: Record) -> None:
    index.statuses[str(record.id)].append(_read(record))
    attempt = index.by_id.get(str(record.id))
    if attempt and attempt.seen_done is None and record.facts.get("state") == "done":
        attempt.seen_done = record.t


def _outcomes(index: HistoryIndex, record: Record) -> None:
    index.outcomes[str(record.id)].append(_read(record))


def _enrollment(index: HistoryIndex, record: Record) -> None:
    if record.phase is Phase.OK:
        index.enrollments.append(_read(record))


def _feed(index: HistoryIndex, record: Record) -> None:
    if record.phase is Phase.OK:
        index.feed.append(_read(record))


def _course(index: HistoryIndex, record: Record) -> None:
    index.courses[record.facts["course_id"]].append(record)


def _on_fault(index: HistoryIndex, record: Record) -> None:
    if record.phase is Phase.HEAL:
        index.healed = record.t
    elif record.phase is Phase.START:
        index.started[record.facts["fault"]] += 1
    elif record.phase is Phase.WITNESS:
        index.witnessed[record.facts["fault"]] += 1


_HANDLERS = {
    **dict.fromkeys(_POSTS, _on_request),
    Op.REUSE: _on_reuse,
    Op.STATUS: _status,
    Op.OUTCOMES: _outcomes,
    Op.ENROLLMENT: _enrollment,
    Op.FEED: _feed,
    Op.COURSE: _course,
    Op.FAULT: _on_fault,
    Op.NOTE: _nothing,
}


def _capacities(records: list[Record]) -> Iterator[Capacity]:
    """Yields capacities: one that was replaced ends there; one with an unknown result may apply any
    time later.
    """
    changes = [
        (sent, _answer(records[place + 1 :], sent))
        for place, sent in enumerate(records)
        if sent.phase is Phase.INVOKE
    ]
    sure = [(sent.t, answer.t) for sent, answer in changes if answer and answer.phase is Phase.OK]
    for sent, answer in changes:
        if answer is not None and answer.phase is Phase.FAIL:
            continue
        until = float("inf")
        if answer is not None and answer.phase is Phase.OK:
            until = min((end for begin, end in sure if begin > answer.t), default=until)
        yield Capacity(sent.facts["capacity"], sent.t, until)


def _answer(later: list[Record], sent: Record) -> Record | None:
    return next((record for record in later if record.client == sent.client), None)
