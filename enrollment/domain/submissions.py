"""What one caller handed in at once, and how far it is."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from enrollment.domain.codes import FAILURES, CallerKind, Code, Kind, Lane, Result, State

#: Progress is not worth a figure before this many seconds.
_MEASURABLE_SECONDS = 0.001


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """How many requests came to which outcome, and why those that failed did."""

    counts: Mapping[Code, int] = field(default_factory=dict)
    reasons: Mapping[str, int] = field(default_factory=dict)

    def __add__(self, other: "Tally") -> "Tally":
        """Both together."""
        counts, reasons = dict(self.counts), dict(self.reasons)
        for code, number in other.counts.items():
            counts[code] = counts.get(code, 0) + number
        for reason, number in other.reasons.items():
            reasons[reason] = reasons.get(reason, 0) + number
        return Tally(counts=counts, reasons=reasons)

    @property
    def answered(self) -> int:
        """Requests that have their outcome."""
        return sum(self.counts.values())

    def as_json(self) -> dict[str, Any]:
        """The form in which it is kept."""
        counts = {code.value: number for code, number in self.counts.items()}
        return {**counts, "reasons": dict(self.reasons)}


def tally_of(kept: Mapping[str, Any] | None) -> Tally:
    """The tally out of its kept form."""
    if not kept:
        return Tally()
    counts = {Code(code): number for code, number in kept.items() if code != "reasons"}
    return Tally(counts=counts, reasons=kept.get("reasons", {}))


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How a submission is to be read and worked."""

    default_mode: str | None = None
    on_error: str = "continue"
    source: str | None = None

    def as_json(self) -> dict[str, Any]:
        """The options that were given, in the form in which they are kept and shown."""
        given = {
            "default_mode": self.default_mode,
            "on_error": self.on_error,
            "source": self.source,
        }
        return {name: value for name, value in given.items() if value is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """One request or a million, with what became of them so far."""

    id: UUID
    kind: Kind
    caller: str
    caller_kind: CallerKind
    received_at: datetime
    total: int
    tally: Tally = field(default_factory=Tally)
    lane: Lane = Lane.INTERACTIVE
    #: How a file's rows are kept: csv, ndjson or json.
    encoding: str | None = None
    #: Whose columns they have: ``native`` is ours.
    format: str | None = None
    header: str | None = None
    options: Options = field(default_factory=Options)
    intake: int | None = None
    #: Of a single: the batch that holds it, and where.
    batch_id: int | None = None
    position: int | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    cancel_asked_at: datetime | None = None
    published: bool = True

    @property
    def pending(self) -> int:
        """Requests without an outcome."""
        return self.total - self.tally.answered

    @property
    def state(self) -> State:
        """How far it is; it never goes back."""
        if self.finished_at is None:
            return State.QUEUED if self.started_at is None else State.RUNNING
        return State.CANCELLED if self.tally.counts.get(Code.CANCELLED) else State.DONE

    @property
    def result(self) -> Result | None:
        """How it went as a whole; None until it is finished."""
        if self.finished_at is None:
            return None
        failed = sum(self.tally.counts.get(code, 0) for code in FAILURES)
        if failed == 0:
            return Result.SUCCEEDED
        return Result.FAILED if failed == self.total else Result.PARTIAL

    @property
    def progress(self) -> float:
        """Answered share, 0 to 1."""
        return self.tally.answered / self.total if self.total else 1.0

    def rows_per_second(self, now: datetime) -> int | None:
        """Rows worked a second since work began, None before; what is cancelled is no work."""
        if self.started_at is None:
            return None
        end = self.finished_at or now
        spent = (end - self.started_at).total_seconds()
        worked = self.tally.answered - self.tally.counts.get(Code.CANCELLED, 0)
        return int(worked / max(spent, _MEASURABLE_SECONDS))

    def eta_seconds(self, now: datetime) -> int | None:
        """Seconds until the last outcome at today's pace; None before there is one."""
        if self.finished_at is not None:
            return 0
        pace = self.rows_per_second(now)
        return None if not pace else -(-self.pending // pace)
