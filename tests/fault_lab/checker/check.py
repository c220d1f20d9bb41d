"""Checks the history of clients, and the database behind it, against the invariants.

Not checked: I9 (`checker.deliveries` does, in runs of their own) and I11 (authorization: every
client of a load may read everything).
"""

import math
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import NamedTuple

from api_gateway.audit.verify import verify
from enrollment.storage.engine.sessions import Sessions
from tests.fault_lab.checker import guarantees, ordering, seats
from tests.fault_lab.checker.guarantees import Found
from tests.fault_lab.checker.history_index import HistoryIndex, index_history, max_capacity
from tests.fault_lab.checker.ledger import Ledger, Mark, read_ledger
from tests.fault_lab.checker.timeline import timeline
from tests.fault_lab.history import Record, read_history

BEGINNING = Mark()
#: Violations that are shown with a timeline.
MAX_TIMELINES = 20


class CheckResult(StrEnum):
    """The result of a check; only ``ok`` is good."""

    OK = "ok"
    VIOLATIONS = "violations"
    #: No invariant is violated, but too little happened to prove anything.
    UNKNOWN = "unknown"


class Trace(StrEnum):
    """Evidence that a fault took effect."""

    #: Requests without a known result (reset, time-out, 5xx).
    UNKNOWN_ANSWERS = "unknown_answers"
    #: Repeated requests whose key existed already, after an unknown result.
    REPLAYED_KEYS = "replayed_keys"
    #: Batches that maintenance redispatched.
    ANNOUNCED_AGAIN = "announced_again"
    #: Attempts that failed, or whose worker died.
    FAILED_ATTEMPTS = "failed_attempts"


class Violation(NamedTuple):
    """A violated invariant, with everything that is known about the item."""

    invariant: str
    what: str
    timeline: tuple[str, ...] = ()


@dataclass(kw_only=True)
class Verdict:
    """The result of a check with its figures."""

    result: CheckResult
    violations: list[Violation] = field(default_factory=list)
    #: Reasons for the result ``unknown``.
    doubts: list[str] = field(default_factory=list)
    #: Requests in submissions that were answered 202.
    accepted_items: int = 0
    #: Submissions that were answered 202.
    accepted: int = 0
    events: int = 0
    #: Seconds from sending to 202; None without any.
    p50: float | None = None
    p99: float | None = None
    #: Seconds from healing to the last outcome; None if the faults were never healed.
    recovery_seconds: float | None = None
    traces: dict[str, int] = field(default_factory=dict)

    def text(self, most: int = MAX_TIMELINES) -> str:
        """Returns the result as text, with the first violations and their timelines."""
        traces = ", ".join(f"{trace} {number}" for trace, number in self.traces.items())
        lines = [
            f"{self.result}: {len(self.violations)} violations",
            f"{self.accepted_items} requests in {self.accepted} submissions, {self.events} events",
            f"traces: {traces}",
            *(f"unknown, because {doubt}" for doubt in self.doubts),
        ]
        for violation in self.violations[:most]:
            lines.append(f"{violation.invariant}: {violation.what}")
            lines += [f"    {line}" for line in violation.timeline]
        if len(self.violations) > most:
            lines.append(f"... and {len(self.violations) - most} more")
        return "\n".join(lines)


def check(
    history: Path | Iterable[Record],
    sessions: Sessions,
    *,
    since: Mark = BEGINNING,
    minimum: int = 1,
    answered_within: float = 60.0,
    max_p99: float | None = None,
    traces: Collection[Trace] = (),
    clocks_agree: bool = True,
) -> Verdict:
    """Checks a run after all faults are healed and all work is done.

    Rows before the mark are left out, except by `enroll verify`. ``clocks_agree`` is False if a
    clock was set wrong on purpose.
    """
    index = index_history(read_history(history) if isinstance(history, Path) else history)
    ledger = read_ledger(sessions, since)
    found = [
        *_violations_of(index, ledger, answered_within, clocks_agree=clocks_agree),
        *_audit_violations(sessions, index),
    ]
    verdict = _figures(index, ledger, clocks_agree=clocks_agree)
    if max_p99 is not None and (verdict.p99 or 0.0) > max_p99:
        found.append(Found("I12", f"99 of 100 got 202 within {verdict.p99:.3f} s, not {max_p99}"))
    verdict.violations = [
        _violation(one, index, ledger, shows=number < MAX_TIMELINES)
        for number, one in enumerate(found)
    ]
    verdict.doubts = list(_doubts(index, ledger, verdict, minimum, traces))
    if verdict.violations:
        verdict.result = CheckResult.VIOLATIONS
    elif verdict.doubts:
        verdict.result = CheckResult.UNKNOWN
    return verdict


def _violations_of(
    index: HistoryIndex, ledger: Ledger, within: float, *, clocks_agree: bool
) -> Iterator[Found]:
    rules = (
        guarantees.durable,
        partial(guarantees.answered, within=within, clocks_agree=clocks_agree),
        guarantees.no_phantoms,
        guarantees.idempotent,
        partial(seats.seats_respected, clocks_agree=clocks_agree),
        ordering.latest_wins,
        ordering.feed_complete,
        guarantees.reads_correct,
    )
    for rule in rules:
        yield from rule(index, ledger)


#: The invariant behind the first word of a violation kind of `enroll verify`.
_INVARIANTS = {"outcomes": "I2", "fold": "I5", "seats": "I6", "feed": "I8"}


def _audit_violations(sessions: Sessions, index: HistoryIndex) -> Iterator[Found]:
    """Yields the violations that `enroll verify` finds, in the rows of earlier runs too."""
    known = {course_id: max_capacity(index.capacities(course_id)) for course_id in index.courses}
    for found in verify(sessions, capacities=known).violations:
        invariant = _INVARIANTS.get(found.kind.partition(".")[0], "records")
        about = found.about.submission_id
        id_ = None if about is None else str(about)
        yield Found(invariant, f"{found.kind}: {found.message}", id_, found.about.line)


def _violation(found: Found, index: HistoryIndex, ledger: Ledger, *, shows: bool) -> Violation:
    lines = tuple(timeline(found, index, ledger)) if shows else ()
    return Violation(found.invariant, found.what, lines)


def _figures(index: HistoryIndex, ledger: Ledger, *, clocks_agree: bool) -> Verdict:
    accepted = index.accepted()
    latencies = sorted(index.latencies)
    batches = ledger.batches.values()
    return Verdict(
        result=CheckResult.OK,
        accepted_items=sum(len(attempt.changes) for attempt in accepted),
        accepted=len(accepted),
        events=len(ledger.events),
        p50=_share(latencies, 0.5),
        p99=_share(latencies, 0.99),
        recovery_seconds=_recovery(index, ledger, clocks_agree=clocks_agree),
        traces={
            Trace.UNKNOWN_ANSWERS: sum(attempt.unknown for attempt in index.keys.values()),
            Trace.REPLAYED_KEYS: sum(attempt.replayed_unknown for attempt in index.keys.values()),
            Trace.ANNOUNCED_AGAIN: sum(batch.repeats for batch in batches),
            Trace.FAILED_ATTEMPTS: sum(batch.attempts for batch in batches),
        },
    )


def _share(ordered: list[float], share: float) -> float | None:
    """Returns the quantile of sorted values."""
    return ordered[math.ceil(share * len(ordered)) - 1] if ordered else None


def _recovery(index: HistoryIndex, ledger: Ledger, *, clocks_agree: bool) -> float | None:
    """Returns the seconds from healing to the last outcome, on the client's clock if others are
    wrong.
    """
    if index.healed is None:
        return None
    if not clocks_agree:
        return None if index.settled is None else index.settled - index.healed
    answered = (batch.answered_at for batch in ledger.batches.values() if batch.answered_at)
    last = max((moment.timestamp() for moment in answered), default=index.healed)
    return max(0.0, last - index.healed)


def _doubts(
    index: HistoryIndex,
    ledger: Ledger,
    verdict: Verdict,
    minimum: int,
    traces: Collection[Trace],
) -> Iterator[str]:
    """I13: yields the reasons why the run proves nothing."""
    if verdict.accepted_items < minimum:
        yield f"only {verdict.accepted_items} requests were accepted, not {minimum}"
    for fault, times in index.started.items():
        if not index.witnessed[fault]:
            yield f"nothing shows that {fault} took hold in {times} times"
    for trace in traces:
        if not verdict.traces[trace]:
            yield f"the fault left no {trace}"
    if unread := sum(attempt.seen_done is None for attempt in index.accepted()):
        yield f"{unread} submissions were never seen to be done"
    if not ordering.read_to_the_end(index, ledger):
        yield "no client read the feed to its end"
