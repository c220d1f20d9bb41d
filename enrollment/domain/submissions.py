"""What one caller handed in at once, and how far it is."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from enrollment.domain.codes import (
    FAILURE_CODES,
    CallerKind,
    Code,
    Kind,
    Lane,
    OnError,
    State,
    SubmissionResult,
)

#: Progress is not worth a figure before this many seconds.
_MEASURABLE_SECONDS = 0.001


#: Stands for the outcomes of a batch of which every request was cancelled unread.
CANCELLED_AS_WHOLE = b""


def is_cancelled_as_whole(outcomes: bytes | None) -> bool:
    """Whether a batch was cancelled as a whole, by its stored outcomes (None: no outcomes yet)."""
    return outcomes == CANCELLED_AS_WHOLE


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
    def completed(self) -> int:
        """Requests that have their outcome."""
        return sum(self.counts.values())

    def as_json(self) -> dict[str, Any]:
        """The form in which it is kept."""
        counts = {code.value: number for code, number in self.counts.items()}
        return {**counts, "reasons": dict(self.reasons)}


def decode_tally(kept: Mapping[str, Any] | None) -> Tally:
    """The tally out of its kept form."""
    if not kept:
        return Tally()
    counts = {Code(code): number for code, number in kept.items() if code != "reasons"}
    return Tally(counts=counts, reasons=kept.get("reasons", {}))


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmissionOptions:
    """How a submission is to be read and worked."""

    default_mode: str | None = None
    on_error: str = OnError.CONTINUE.value
    source: str | None = None
    #: Everything is judged and nothing is changed.
    dry_run: bool = False
    #: Of a list in the form of upstream's bulk enrollment: whether who is not known here yet, and
    #: so invited, is to be enrolled at once later. None of every other submission.
    auto_enroll: bool | None = None
    #: Why, as its caller says.
    reason: str | None = None
    #: The course of rows that have no place for one.
    course_id: str | None = None

    @property
    def is_atomic(self) -> bool:
        """Whether it is all or nothing."""
        return self.on_error == OnError.ABORT

    @property
    def invites(self) -> bool:
        """Whether who is not known here yet is invited."""
        return self.auto_enroll is not None

    @property
    def must_run_alone(self) -> bool:
        """Whether its batches are judged by themselves, never together with others."""
        return self.is_atomic or self.dry_run or self.invites

    def as_json(self) -> dict[str, Any]:
        """The options that were given, in the form in which they are stored."""
        given = {
            "default_mode": self.default_mode,
            "on_error": self.on_error,
            "source": self.source,
            "dry_run": self.dry_run or None,
            "auto_enroll": self.auto_enroll,
            "reason": self.reason,
            "course_id": self.course_id,
        }
        return {name: value for name, value in given.items() if value is not None}


class ArchiveMember(NamedTuple):
    """One file of an archive."""

    name: str
    #: Lines of the files before it: its own are counted on from there.
    lines_before: int
    #: How its rows are kept: csv, ndjson or json.
    encoding: str
    #: Whose columns they have.
    format: str
    #: The header of a CSV file.
    header: str | None = None
    #: Whose ids its rows have; None: whose its submission says, and ours where that says nothing.
    source: str | None = None


class ProgressMark(NamedTuple):
    """How far a bulk is, as far as it takes to tell that it moved."""

    completed: int
    is_finished: bool
    is_cancel_requested: bool


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
    #: The files of an archive; its encoding, format and header are those of the first.
    files: tuple[ArchiveMember, ...] = ()
    options: SubmissionOptions = field(default_factory=SubmissionOptions)
    intake: int | None = None
    #: Of a single: the batch that holds it, and where.
    batch_id: int | None = None
    position: int | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    cancel_asked_at: datetime | None = None
    published: bool = True

    def source_of(self, file: ArchiveMember) -> str | None:
        """Whose ids the rows of a file have; None: they are ours."""
        return file.source or self.options.source

    @property
    def pending(self) -> int:
        """Requests without an outcome."""
        return self.total - self.tally.completed

    @property
    def progress_mark(self) -> ProgressMark:
        """How far it is; another one after every move."""
        return ProgressMark(
            self.tally.completed, self.finished_at is not None, self.cancel_asked_at is not None
        )

    @property
    def state(self) -> State:
        """How far it is; it never goes back."""
        if self.finished_at is None:
            return State.QUEUED if self.started_at is None else State.RUNNING
        return State.CANCELLED if self.tally.counts.get(Code.CANCELLED) else State.DONE

    @property
    def result(self) -> SubmissionResult | None:
        """How it went as a whole; None until it is finished."""
        if self.finished_at is None:
            return None
        failed = sum(self.tally.counts.get(code, 0) for code in FAILURE_CODES)
        if failed == 0:
            return SubmissionResult.SUCCEEDED
        return SubmissionResult.FAILED if failed == self.total else SubmissionResult.PARTIAL

    @property
    def progress(self) -> float:
        """Answered share, 0 to 1."""
        return self.tally.completed / self.total if self.total else 1.0

    def rows_per_second(self, now: datetime) -> int | None:
        """Rows worked a second since work began, None before; what is cancelled is no work."""
        if self.started_at is None:
            return None
        end = self.finished_at or now
        spent = (end - self.started_at).total_seconds()
        worked = self.tally.completed - self.tally.counts.get(Code.CANCELLED, 0)
        return int(worked / max(spent, _MEASURABLE_SECONDS))

    def eta_seconds(self, now: datetime) -> int | None:
        """Seconds until the last outcome at today's pace; None before there is one."""
        if self.finished_at is not None:
            return 0
        pace = self.rows_per_second(now)
        return None if not pace else -(-self.pending // pace)
