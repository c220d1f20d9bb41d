"""Audit rules: each request has exactly one outcome, and each change exactly one event."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple
from uuid import UUID

from enrollment.domain.audit.event_chain import EventRecord, change_of
from enrollment.domain.audit.violations import Violation, ViolationKind, ViolationSubject
from enrollment.domain.events import CHANGE_KIND_BY_CODE
from enrollment.domain.model import Outcome
from enrollment.domain.submissions import Tally, decode_tally, is_cancelled_as_whole


class BatchRecord(NamedTuple):
    """A stored batch; `events` is the number of its positions in the feed."""

    id: int
    #: None: a batch of single requests.
    submission: str | None
    ordinal: int | None
    requests: int
    is_completed: bool
    is_parked: bool
    outcomes: bytes | None
    tally: Mapping[str, Any] | None
    events: int

    def violation(self, kind: ViolationKind, message: str, line: int | None = None) -> Violation:
        """Returns a violation whose message begins with this batch."""
        owner = None if self.submission is None else UUID(self.submission)
        return Violation(kind, f"batch {self.id} {message}", ViolationSubject(self.id, owner, line))


class FileRecord(NamedTuple):
    """The stored submission of a file."""

    submission: str
    total: int
    tally: Mapping[str, Any] | None
    is_published: bool
    is_finished: bool
    is_cancel_requested: bool
    is_dry_run: bool | None = False
    #: Whether one line may contain several requests, each with its own outcome.
    repeats_lines: bool = False
    #: Whether it is hidden and its batches are deleted, in portions and in any order.
    is_being_deleted: bool = False

    def violation(self, kind: ViolationKind, message: str) -> Violation:
        """Returns a violation whose message begins with this submission."""
        about = ViolationSubject(submission_id=UUID(self.submission))
        return Violation(kind, f"submission {self.submission} {message}", about)


class BatchSingles(NamedTuple):
    """The single submissions that refer to one batch, summed up."""

    batch_id: int
    number: int
    #: Number of distinct positions.
    positions: int
    first: int
    last: int


class BatchOutcomes(NamedTuple):
    """The decoded outcomes of a batch, and their tally; a cancelled batch has a tally only."""

    outcomes: Sequence[Outcome]
    tally: Tally


def check_batch(
    batch: BatchRecord,
    found: BatchOutcomes | None,
    *,
    is_cancel_requested: bool,
    is_dry_run: bool = False,
) -> Iterator[Violation]:
    """Checks a completed batch by itself; `found` is None where its outcomes are unreadable."""
    if found is None:
        message = "has outcomes that cannot be read"
        yield batch.violation(ViolationKind.OUTCOMES_UNREADABLE, message)
        return
    if is_cancelled_as_whole(batch.outcomes):
        if not is_cancel_requested:
            message = "is cancelled, but no cancellation was requested"
            yield batch.violation(ViolationKind.OUTCOMES_NOT_CANCELLED, message)
        return
    number = len(found.outcomes)
    if number != batch.requests:
        message = f"has {number} outcomes of {batch.requests} requests"
        yield batch.violation(ViolationKind.OUTCOMES_MISSING, message)
    if message := _difference(batch.tally, found.tally):
        yield batch.violation(ViolationKind.OUTCOMES_TALLY, message)
    if is_dry_run:
        if batch.events:
            message = f"belongs to a dry run, but has {batch.events} positions in the feed"
            yield batch.violation(ViolationKind.FEED_UNFOUNDED, message)
    elif not batch.events:
        yield from _check_no_changes(batch, found.outcomes)


def _check_no_changes(batch: BatchRecord, outcomes: Sequence[Outcome]) -> Iterator[Violation]:
    lines = [outcome.line for outcome in outcomes if outcome.code in CHANGE_KIND_BY_CODE]
    if lines:
        message = f"has {len(lines)} outcomes with a change, but no events"
        yield batch.violation(ViolationKind.OUTCOMES_WITHOUT_EVENT, message, lines[0])


def check_singles(batch: BatchRecord, singles: BatchSingles | None) -> Iterator[Violation]:
    """Checks that each request of a batch of single requests has its submission."""
    expected = BatchSingles(batch.id, batch.requests, batch.requests, 0, batch.requests - 1)
    if singles != expected:
        number = 0 if singles is None else singles.positions
        message = f"has {batch.requests} requests, and {number} of them have their submission"
        yield batch.violation(ViolationKind.OUTCOMES_HEAD_MISSING, message)


class FileCheck:
    """Checks a file against its batches, which are passed in order."""

    def __init__(self, file: FileRecord) -> None:
        self._file = file
        self._ordinal = 0
        self._requests = 0
        self._line = 0
        #: Whether a batch so far is not completed.
        self._is_pending = False
        self._tally = Tally()

    def check_next(self, batch: BatchRecord, found: BatchOutcomes | None) -> Iterator[Violation]:
        """Checks the next batch; `found` is None where it is pending or unreadable."""
        if self._file.is_being_deleted:
            return
        if batch.ordinal != self._ordinal:
            message = f"is number {batch.ordinal} of its file, where {self._ordinal} is expected"
            yield batch.violation(ViolationKind.OUTCOMES_BATCH_MISSING, message)
        self._ordinal = (batch.ordinal or 0) + 1
        self._requests += batch.requests
        if not batch.is_completed:
            self._is_pending = True
            return
        if self._is_pending or not self._file.is_published:
            event = "an earlier batch" if self._is_pending else "the upload was complete"
            yield batch.violation(ViolationKind.OUTCOMES_TURN, f"was completed before {event}")
        if found is not None:
            self._tally += found.tally
            yield from self._check_lines(batch, found.outcomes)

    def _check_lines(self, batch: BatchRecord, outcomes: Iterable[Outcome]) -> Iterator[Violation]:
        for outcome in outcomes:
            is_repeated = outcome.line == self._line and not self._file.repeats_lines
            if outcome.line < self._line or is_repeated:
                message = f"has the outcome of line {outcome.line} after that of line {self._line}"
                yield batch.violation(ViolationKind.OUTCOMES_LINES, message, outcome.line)
                return
            self._line = outcome.line

    def check_end(self) -> Iterator[Violation]:
        """Checks the numbers of the submission against those of its batches."""
        file = self._file
        if not file.is_published:
            return
        if file.total != self._requests:
            message = f"counts {file.total} requests, but its batches have {self._requests}"
            yield file.violation(ViolationKind.OUTCOMES_TOTAL, message)
        if message := _difference(file.tally, self._tally):
            yield file.violation(ViolationKind.OUTCOMES_TALLY, message)
        if file.is_finished == self._is_pending:
            state = "finished" if file.is_finished else "not finished"
            work = "a batch is pending" if self._is_pending else "every batch is completed"
            yield file.violation(ViolationKind.OUTCOMES_FINISHED, f"is {state}, but {work}")


def check_pairs(
    batch_id: int, events: Sequence[EventRecord], changes: Sequence[tuple[str, Outcome]]
) -> Iterator[Violation]:
    """Checks that the events of a batch match its outcomes with a change one to one.

    `changes` are those outcomes, each with the id of its submission.
    """
    found = [
        (one.submission, one.line, change_of(one), one.username, one.course_id, *one.after[:2])
        for one in events
    ]
    expected: list[tuple[Any, ...]] = [
        (
            owner,
            one.line,
            CHANGE_KIND_BY_CODE[one.code],
            one.user,
            one.course_id,
            one.mode,
            one.is_active,
        )
        for owner, one in changes
    ]
    if found == expected:
        return
    for event, cells in zip(events, found, strict=True):
        if cells in expected:
            expected.remove(cells)
        else:
            message = f"has no matching outcome in batch {batch_id}"
            yield event.violation(ViolationKind.FEED_UNFOUNDED, message)
    for owner, line, kind, username, course_id, *_ in expected:
        message = f"line {line} of {owner} in batch {batch_id} was {kind}, but has no event"
        about = ViolationSubject(batch_id, UUID(owner), line, None, course_id, username)
        yield Violation(ViolationKind.OUTCOMES_WITHOUT_EVENT, message, about)


def _difference(stored: Mapping[str, Any] | None, counted: Tally) -> str:
    """Describes how a stored tally differs from the counted one; empty where they are equal."""
    try:
        tally = decode_tally(stored)
    except (AttributeError, TypeError, ValueError):
        return f"has a tally that cannot be read, and {_counts(counted)}"
    return "" if tally == counted else f"counts {_counts(tally)}, but has {_counts(counted)}"


def _counts(tally: Tally) -> str:
    counts = ", ".join(f"{number} {code}" for code, number in sorted(tally.counts.items()))
    reasons = ", ".join(f"{number} {reason}" for reason, number in sorted(tally.reasons.items()))
    return (counts or "nothing") + (f" ({reasons})" if reasons else "")
