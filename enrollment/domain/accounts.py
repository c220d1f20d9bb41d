"""The account of requests: exactly one outcome each, and an event behind each that changed."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple
from uuid import UUID

from enrollment.domain.auditing import About, Fault, Violation
from enrollment.domain.chains import KeptEvent
from enrollment.domain.codes import Code
from enrollment.domain.events import KINDS
from enrollment.domain.model import Outcome
from enrollment.domain.submissions import Tally, is_cancelled_as_whole, tally_of


class KeptBatch(NamedTuple):
    """A batch as it is kept; ``events`` is how many places it has in the feed."""

    id: int
    #: None for a batch of singles.
    submission: str | None
    ordinal: int | None
    requests: int
    is_answered: bool
    is_parked: bool
    outcomes: bytes | None
    tally: Mapping[str, Any] | None
    events: int

    def about(self, line: int | None = None) -> About:
        """What a violation on it is about."""
        owner = None if self.submission is None else UUID(self.submission)
        return About(self.id, owner, line)


class KeptFile(NamedTuple):
    """The head of a file."""

    submission: str
    total: int
    tally: Mapping[str, Any] | None
    is_published: bool
    is_finished: bool
    cancel_asked: bool
    is_dry_run: bool | None = False
    #: One line may mean many requests, each with its outcome.
    repeats_lines: bool = False

    def about(self) -> About:
        """What a violation on it is about."""
        return About(submission_id=UUID(self.submission))


class Singles(NamedTuple):
    """The single submissions that say they are in one batch."""

    batch_id: int
    number: int
    #: Places that they name, how many different ones.
    places: int
    first: int
    last: int


class Account(NamedTuple):
    """The outcomes of one batch, and how many came to what; none at all of a cancelled one."""

    outcomes: Sequence[Outcome]
    tally: Tally

    @property
    def changes(self) -> list[Outcome]:
        """Those that changed something."""
        return [outcome for outcome in self.outcomes if outcome.code in KINDS]


#: Whose outcome, and the outcome.
Owned = tuple[str, Outcome]


def faults_of_batch(
    batch: KeptBatch, account: Account | None, *, cancel_asked: bool, is_dry_run: bool = False
) -> Iterator[Violation]:
    """What is wrong with an answered batch by itself; without an account it is unreadable."""
    this, about = f"batch {batch.id}", batch.about()
    if account is None:
        yield Violation(Fault.OUTCOMES_UNREADABLE, f"the outcomes of {this} cannot be read", about)
        return
    if is_cancelled_as_whole(batch.outcomes):
        if not cancel_asked:
            says = f"{this} is answered as cancelled, which nobody asked for"
            yield Violation(Fault.OUTCOMES_NOT_CANCELLED, says, about)
        return
    number = len(account.outcomes)
    if number != batch.requests:
        says = f"{this} has {number} outcomes of {batch.requests} requests"
        yield Violation(Fault.OUTCOMES_MISSING, says, about)
    if _tally(batch.tally) != account.tally:
        says = f"{this} counts {_counts(_tally(batch.tally))}, but has {_counts(account.tally)}"
        yield Violation(Fault.OUTCOMES_TALLY, says, about)
    yield from _faults_of_events(batch, account.changes, is_dry_run=is_dry_run)


def _faults_of_events(
    batch: KeptBatch, changes: Sequence[Outcome], *, is_dry_run: bool
) -> Iterator[Violation]:
    """Whether there are events at all; those of a batch in the feed are paired with outcomes."""
    this = f"batch {batch.id}"
    if is_dry_run and batch.events:
        says = f"{this} was only tried, and has {batch.events} places in the feed"
        yield Violation(Fault.FEED_UNFOUNDED, says, batch.about())
    if changes and not batch.events and not is_dry_run:
        says = f"{this} has {len(changes)} outcomes that changed something, but no events"
        yield Violation(Fault.OUTCOMES_WITHOUT_EVENT, says, batch.about(changes[0].line))


def faults_of_singles(batch: KeptBatch, singles: Singles | None) -> Iterator[Violation]:
    """What is wrong with the submissions that say they are in a batch of singles."""
    whole = Singles(batch.id, batch.requests, batch.requests, 0, batch.requests - 1)
    if singles != whole:
        number = 0 if singles is None else singles.places
        says = f"batch {batch.id} has {batch.requests} requests of singles, and {number} of them"
        yield Violation(Fault.OUTCOMES_HEAD_MISSING, f"{says} have their submission", batch.about())


def fault_of_lost_batch(singles: Singles) -> Violation:
    """There are single submissions in a batch that holds none."""
    says = f"{singles.number} singles say they are in batch {singles.batch_id}, which has none"
    return Violation(Fault.OUTCOMES_BATCH_MISSING, says, About(singles.batch_id))


class File:
    """A file's account, batch by batch in their order."""

    def __init__(self, head: KeptFile) -> None:
        self._head = head
        self._ordinal = 0
        self._requests = 0
        self._line = 0
        self._waits = False
        self._tally = Tally()

    def add(self, batch: KeptBatch, account: Account | None) -> Iterator[Violation]:
        """One more batch; without an account it is not answered, or cannot be read."""
        this, about = f"batch {batch.id} of {self._head.submission}", batch.about()
        if batch.ordinal != self._ordinal:
            says = f"{this} is number {batch.ordinal} and comes where {self._ordinal} should"
            yield Violation(Fault.OUTCOMES_BATCH_MISSING, says, about)
        self._ordinal = (batch.ordinal or 0) + 1
        self._requests += batch.requests
        if not batch.is_answered:
            self._waits = True
            return
        if self._waits or not self._head.is_published:
            before = "one before it" if self._waits else "the file was complete"
            yield Violation(Fault.OUTCOMES_TURN, f"{this} was answered before {before}", about)
        if account is not None:
            self._tally += account.tally
            yield from self._faults_of_lines(batch, account.outcomes)

    def _faults_of_lines(
        self, batch: KeptBatch, outcomes: Iterable[Outcome]
    ) -> Iterator[Violation]:
        for outcome in outcomes:
            is_again = outcome.line == self._line and not self._head.repeats_lines
            if outcome.line < self._line or is_again:
                says = f"batch {batch.id} answers line {outcome.line} after line {self._line}"
                yield Violation(Fault.OUTCOMES_LINES, says, batch.about(outcome.line))
                return
            self._line = outcome.line

    def end(self) -> Iterator[Violation]:
        """What the head says, beside what its batches come to."""
        head = self._head
        if not head.is_published:
            return
        this, about = head.submission, head.about()
        if head.total != self._requests:
            says = f"{this} counts {head.total} requests, but its batches have {self._requests}"
            yield Violation(Fault.OUTCOMES_TOTAL, says, about)
        if _tally(head.tally) != self._tally:
            says = f"{this} counts {_counts(_tally(head.tally))}, but has {_counts(self._tally)}"
            yield Violation(Fault.OUTCOMES_TALLY, says, about)
        if head.is_finished == self._waits:
            state = "finished" if head.is_finished else "not finished"
            left = "a batch waits" if self._waits else "every batch is answered"
            yield Violation(Fault.OUTCOMES_FINISHED, f"{this} is {state}, but {left}", about)


def faults_of_pairs(
    batch_id: int, events: Sequence[KeptEvent], changes: Sequence[Owned]
) -> Iterator[Violation]:
    """Outcomes that changed something and events of one batch, one to one."""
    found = [
        (event.submission, event.line, event.kind, event.username, event.course_id, *event.after)
        for event in events
    ]
    promised = [_promised(owner, outcome) for owner, outcome in changes]
    if [cells[:7] for cells in found] == promised:
        return
    for event, cells in zip(events, found, strict=True):
        if cells[:7] in promised:
            promised.remove(cells[:7])
        else:
            says = f"event {event.id} has no outcome in batch {batch_id} that says so"
            yield Violation(Fault.FEED_UNFOUNDED, says, event.about())
    for owner, line, kind, username, course_id, *_ in promised:
        says = f"line {line} of {owner} in batch {batch_id} was {kind}, and no event says so"
        about = About(batch_id, UUID(owner), line, None, course_id, username)
        yield Violation(Fault.OUTCOMES_WITHOUT_EVENT, says, about)


def _promised(owner: str, outcome: Outcome) -> tuple[Any, ...]:
    """What the event behind an outcome has to say."""
    return (
        owner,
        outcome.line,
        KINDS[outcome.code],
        outcome.user,
        outcome.course_id,
        outcome.mode,
        outcome.is_active,
    )


def _tally(kept: Mapping[str, Any] | None) -> Tally | None:
    """The tally out of its kept form; None where it cannot be read."""
    try:
        return tally_of(kept)
    except (AttributeError, TypeError, ValueError):
        return None


def _counts(tally: Tally | None) -> str:
    if tally is None:
        return "what cannot be read"
    counts = ", ".join(f"{number} {code}" for code, number in sorted(tally.counts.items()))
    reasons = ", ".join(f"{number} {reason}" for reason, number in sorted(tally.reasons.items()))
    return (counts or "nothing") + (f" ({reasons})" if reasons else "")


def cancelled(requests: int) -> Account:
    """The account of a batch that was cancelled as a whole."""
    return Account((), Tally(counts={Code.CANCELLED: requests}))
