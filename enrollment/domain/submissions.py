"""Submissions: everything a caller sent in one call, with options and progress."""

from collections.abc import Mapping, Sequence
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

#: Lower bound of the elapsed time in rates, so that a very short run does not divide by zero.
_MEASURABLE_SECONDS = 0.001

#: Stored in place of outcomes where a batch was cancelled before it was processed.
CANCELLED_AS_WHOLE = b""


def is_cancelled_as_whole(outcomes: bytes | None) -> bool:
    """Returns whether stored outcomes mark a batch cancelled as a whole (None: no outcomes yet)."""
    return outcomes == CANCELLED_AS_WHOLE


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """Number of requests per outcome code, of outcomes per reason, and of new learners."""

    counts: Mapping[Code, int] = field(default_factory=dict)
    reasons: Mapping[str, int] = field(default_factory=dict)
    #: Number of learners that were registered: not part of the stored form, and not compared, as a
    #: dry run with the same outcomes registers none.
    learners_created: int = field(default=0, compare=False)

    def __add__(self, other: "Tally") -> "Tally":
        """Returns the sum of two tallies."""
        counts, reasons = dict(self.counts), dict(self.reasons)
        for code, number in other.counts.items():
            counts[code] = counts.get(code, 0) + number
        for reason, number in other.reasons.items():
            reasons[reason] = reasons.get(reason, 0) + number
        learners_created = self.learners_created + other.learners_created
        return Tally(counts=counts, reasons=reasons, learners_created=learners_created)

    @property
    def completed(self) -> int:
        """Number of requests that have an outcome."""
        return sum(self.counts.values())

    def as_json(self) -> dict[str, Any]:
        """Returns the stored form."""
        counts = {code.value: number for code, number in self.counts.items()}
        return {**counts, "reasons": dict(self.reasons)}


def decode_tally(stored: Mapping[str, Any] | None, learners_created: int = 0) -> Tally:
    """Parses the stored form; None is a tally without requests."""
    if not stored:
        return Tally(learners_created=learners_created)
    counts = {Code(code): number for code, number in stored.items() if code != "reasons"}
    reasons = stored.get("reasons", {})
    return Tally(counts=counts, reasons=reasons, learners_created=learners_created)


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmissionOptions:
    """Options that a caller gave with a submission."""

    default_mode: str | None = None
    on_error: str = OnError.CONTINUE.value
    source: str | None = None
    #: Requests are decided, and no enrollment is changed.
    dry_run: bool = False
    #: For submissions to Open edX's bulk enrollment endpoint: whether invited learners are enrolled
    #: as soon as they register. None for every other submission.
    auto_enroll: bool | None = None
    #: The reason for the submission, as stated by the caller.
    reason: str | None = None
    #: The course of rows whose format has no course column.
    course_id: str | None = None
    #: Names of columns and members, separated by commas, that may look like ones that are read.
    ignore: str | None = None
    #: The id of the submission before it: the plan that it carries out, or the file it mends.
    follows: str | None = None

    @property
    def ignored_names(self) -> frozenset[str]:
        """The names in `ignore`, case-folded."""
        return frozenset(split_names(self.ignore or ""))

    @property
    def is_atomic(self) -> bool:
        """Whether one failed request refuses all others."""
        return self.on_error == OnError.ABORT

    @property
    def invites(self) -> bool:
        """Whether unknown learners are invited."""
        return self.auto_enroll is not None

    @property
    def must_run_alone(self) -> bool:
        """Whether its batches never share a transaction with batches of other submissions."""
        return self.is_atomic or self.dry_run or self.invites

    def as_json(self) -> dict[str, Any]:
        """Returns the stored form; options that were not given are left out."""
        given = {
            "default_mode": self.default_mode,
            "on_error": self.on_error,
            "source": self.source,
            "dry_run": self.dry_run or None,
            "auto_enroll": self.auto_enroll,
            "reason": self.reason,
            "course_id": self.course_id,
            "ignore": self.ignore,
            "follows": self.follows,
        }
        return {name: value for name, value in given.items() if value is not None}


def split_names(names: str) -> list[str]:
    """Returns the case-folded names of a list that is separated by commas."""
    return [name for part in names.split(",") if (name := part.strip().casefold())]


class ArchiveMember(NamedTuple):
    """One file of an uploaded archive."""

    name: str
    #: Number of lines in the files before it; line numbers continue across files.
    lines_before: int
    #: Encoding of the stored rows: csv, ndjson or json.
    encoding: str
    #: File format, which defines the columns.
    format: str
    #: The header of a CSV file.
    header: str | None = None
    #: System whose ids the rows contain; None: the source of the submission.
    source: str | None = None
    #: Number of its requests; None: not counted.
    rows: int | None = None


class PassedOverFile(NamedTuple):
    """One file of an uploaded archive that is not read, and why."""

    name: str
    reason: str


def encode_files(files: Sequence[ArchiveMember], passed_over: Sequence[PassedOverFile]) -> Any:
    """Returns the files of an archive as stored: lists, and objects for those passed over.

    None without an archive.
    """
    return [list(file) for file in files] + [file._asdict() for file in passed_over] or None


def decode_files(stored: Any) -> tuple[tuple[ArchiveMember, ...], tuple[PassedOverFile, ...]]:
    """Returns the files of an archive that are read, and those that were passed over."""
    listed = stored or ()
    files = tuple(ArchiveMember(*file) for file in listed if isinstance(file, list))
    return files, tuple(PassedOverFile(**file) for file in listed if isinstance(file, dict))


class ProgressMark(NamedTuple):
    """The part of a submission's state that shows progress; equal marks mean no progress."""

    completed: int
    is_finished: bool
    is_cancel_requested: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """A submission with its progress."""

    id: UUID
    kind: Kind
    caller: str
    caller_kind: CallerKind
    received_at: datetime
    total: int
    tally: Tally = field(default_factory=Tally)
    lane: Lane = Lane.INTERACTIVE
    #: Encoding of the stored rows of a file: csv, ndjson or json.
    encoding: str | None = None
    #: File format, which defines the columns; `native` is the format of this service.
    format: str | None = None
    header: str | None = None
    #: The files of an archive; `encoding`, `format` and `header` are those of the first.
    files: tuple[ArchiveMember, ...] = ()
    #: Files of an archive that are not read.
    passed_over: tuple[PassedOverFile, ...] = ()
    #: Names of the columns of its files, or of the members of a single request, that are not read.
    ignored_columns: tuple[str, ...] = ()
    options: SubmissionOptions = field(default_factory=SubmissionOptions)
    intake: int | None = None
    #: For a single request: the batch that contains it, and its position there.
    batch_id: int | None = None
    position: int | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    cancel_asked_at: datetime | None = None
    published: bool = True
    #: The id of the HTTP request with which it came.
    request_id: str | None = None

    def source_of(self, file: ArchiveMember) -> str | None:
        """Returns the system whose ids a file contains; None: the ids of this service."""
        return file.source or self.options.source

    @property
    def pending(self) -> int:
        """Number of requests without an outcome."""
        return self.total - self.tally.completed

    @property
    def progress_mark(self) -> ProgressMark:
        """The current progress mark."""
        return ProgressMark(
            self.tally.completed, self.finished_at is not None, self.cancel_asked_at is not None
        )

    @property
    def state(self) -> State:
        """Processing state; it never goes back."""
        if self.finished_at is None:
            return State.QUEUED if self.started_at is None else State.RUNNING
        return State.CANCELLED if self.tally.counts.get(Code.CANCELLED) else State.DONE

    @property
    def result(self) -> SubmissionResult | None:
        """Overall result; None until the submission is finished."""
        if self.finished_at is None:
            return None
        failed = sum(self.tally.counts.get(code, 0) for code in FAILURE_CODES)
        if failed == 0:
            return SubmissionResult.SUCCEEDED
        return SubmissionResult.FAILED if failed == self.total else SubmissionResult.PARTIAL

    @property
    def progress(self) -> float:
        """Completed share of the requests, 0 to 1."""
        return self.tally.completed / self.total if self.total else 1.0

    def rows_per_second(self, now: datetime) -> int | None:
        """Returns rows processed per second since processing started; None before.

        Cancelled rows do not count.
        """
        if self.started_at is None:
            return None
        end = self.finished_at or now
        elapsed = (end - self.started_at).total_seconds()
        processed = self.tally.completed - self.tally.counts.get(Code.CANCELLED, 0)
        return int(processed / max(elapsed, _MEASURABLE_SECONDS))

    def eta_seconds(self, now: datetime) -> int | None:
        """Returns the estimated seconds to the last outcome; None while there is no rate."""
        if self.finished_at is not None:
            return 0
        rate = self.rows_per_second(now)
        return None if not rate else -(-self.pending // rate)
