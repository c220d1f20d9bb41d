"""Renders the status of submissions."""

from datetime import UTC, datetime
from functools import lru_cache
from typing import Annotated, NotRequired, TypedDict
from uuid import UUID, uuid4

import orjson

from enrollment.domain.codes import CallerKind, Code, Kind, Reason, State, SubmissionResult
from enrollment.domain.model import EPOCH, Outcome
from enrollment.domain.rules import format_timestamp
from enrollment.domain.submissions import ArchiveMember, Submission
from schemas.encoding.json_types import Count, Doc, OneOf, Range, Timestamp, Uuid
from schemas.enrollments import EnrollmentJson
from schemas.files.formats.detect import NATIVE, column_meanings
from schemas.outcomes import OutcomeJson, dump_outcome
from schemas.submission_options import OptionsJson, dump_options

#: Path of the collection of submissions.
SUBMISSIONS_PATH = "/api/enrollment/v1/submissions"

_Columns = Annotated[
    dict[str, str], Doc("The recognized columns of the file, and the meaning of each.")
]


class CountsJson(TypedDict):
    """The number of requests in total, without an outcome, and with each outcome."""

    total: Count
    pending: Count
    enrolled: Count
    reactivated: Count
    mode_changed: Count
    deactivated: Count
    updated: Count
    unchanged: Count
    superseded: Count
    skipped: Count
    refused: Count
    invalid: Count
    cancelled: Count


class ArchiveFileJson(TypedDict):
    """One file of an archive: `name` and `passed_over`, or all other members.

    Its lines are numbered on from those of the files before it.
    """

    name: str
    passed_over: NotRequired[Annotated[str, Doc("Why the file is not read.")]]
    format: NotRequired[str]
    rows: NotRequired[Annotated[Count, Doc("The number of requests in the file.")]]
    source: NotRequired[
        Annotated[
            str | None, Doc("The crosswalk that maps the file's ids; null: the ids are ours.")
        ]
    ]
    lines_before: NotRequired[Count]
    columns: NotRequired[_Columns]


class LinksJson(TypedDict):
    """Paths of related resources."""

    self: str
    outcomes: str
    events: Annotated[
        str, Doc("With a token for browsers, where one submission is asked for or uploaded.")
    ]
    cancel: str


class SubmissionJson(TypedDict):
    """The status of a submission: one request or many, and the progress on them."""

    submission_id: Uuid
    kind: Kind
    state: Annotated[State, Doc("Never goes back.")]
    result: Annotated[
        SubmissionResult | None,
        Doc(
            "succeeded: nothing refused, invalid or cancelled; failed: nothing else; "
            "partial: some of each; null until the submission is finished."
        ),
    ]
    format: Annotated[str | None, Doc("`mixed` if the files of an archive have several.")]
    columns: NotRequired[_Columns]
    files: Annotated[list[ArchiveFileJson] | None, Doc("The files of an archive.")]
    ignored_columns: Annotated[
        list[str], Doc("The columns of the file, or of all files, that are not read.")
    ]
    ignored_fields: NotRequired[
        Annotated[list[str], Doc("The members of a single request that are not read.")]
    ]
    options: OptionsJson
    caller: str
    counts: CountsJson
    learners_created: NotRequired[
        Annotated[Count, Doc("The number of learners that the file registered so far.")]
    ]
    reasons: Annotated[
        dict[Annotated[str, OneOf(tuple(Reason))], Count],
        Doc("The number of outcomes with each reason, whichever the outcome is."),
    ]
    progress: Annotated[float, Range(0, 1)]
    rows_per_second: Count | None
    eta_seconds: Count | None
    received_at: Timestamp
    started_at: Timestamp | None
    finished_at: Timestamp | None
    links: LinksJson
    outcome: NotRequired[OutcomeJson]
    enrollment: NotRequired[EnrollmentJson | None]


class SubmissionPageJson(TypedDict):
    """Submissions, newest first."""

    submissions: list[SubmissionJson]
    next: str | None


def dump_submission(
    submission: Submission,
    *,
    now: datetime,
    outcome: Outcome | None = None,
    enrollment: EnrollmentJson | None = None,
) -> SubmissionJson:
    """Renders the status; `outcome` and `enrollment` are for a finished single request."""
    is_bulk = submission.kind is Kind.BULK
    dumped: SubmissionJson = {
        "submission_id": str(submission.id),
        "kind": submission.kind,
        "state": submission.state,
        "result": submission.result,
        "format": submission.format,
        "files": _dump_files(submission),
        "ignored_columns": list(submission.ignored_columns) if is_bulk else [],
        "options": dump_options(submission.options),
        "caller": caller_name(submission.caller),
        "counts": _dump_counts(submission),
        "reasons": dict(submission.tally.reasons),
        "progress": round(submission.progress, 4),
        "rows_per_second": submission.rows_per_second(now),
        "eta_seconds": submission.eta_seconds(now),
        "received_at": format_timestamp(submission.received_at),
        "started_at": _timestamp(submission.started_at),
        "finished_at": _timestamp(submission.finished_at),
        "links": _links(f"{SUBMISSIONS_PATH}/{submission.id}"),
    }
    if not submission.files and submission.header is not None:
        dumped["columns"] = column_meanings(submission.format or NATIVE, submission.header)
    if is_bulk:
        dumped["learners_created"] = submission.tally.learners_created
        return dumped
    dumped["ignored_fields"] = list(submission.ignored_columns)
    if outcome is not None:
        dumped |= {"outcome": dump_outcome(outcome), "enrollment": enrollment}
    return dumped


def _dump_counts(submission: Submission) -> CountsJson:
    counts = submission.tally.counts
    return {
        "total": submission.total,
        "pending": submission.pending,
        "enrolled": counts.get(Code.ENROLLED, 0),
        "reactivated": counts.get(Code.REACTIVATED, 0),
        "mode_changed": counts.get(Code.MODE_CHANGED, 0),
        "deactivated": counts.get(Code.DEACTIVATED, 0),
        "updated": counts.get(Code.UPDATED, 0),
        "unchanged": counts.get(Code.UNCHANGED, 0),
        "superseded": counts.get(Code.SUPERSEDED, 0),
        "skipped": counts.get(Code.SKIPPED, 0),
        "refused": counts.get(Code.REFUSED, 0),
        "invalid": counts.get(Code.INVALID, 0),
        "cancelled": counts.get(Code.CANCELLED, 0),
    }


def _links(path: str) -> LinksJson:
    return {
        "self": path,
        "outcomes": f"{path}/outcomes",
        "events": f"{path}/events",
        "cancel": f"{path}/cancel",
    }


def _dump_files(submission: Submission) -> list[ArchiveFileJson] | None:
    if not submission.files:
        return None
    return [
        *(_dump_file(submission, member) for member in submission.files),
        *(
            ArchiveFileJson(name=name, passed_over=reason)
            for name, reason in submission.passed_over
        ),
    ]


def _dump_file(submission: Submission, member: ArchiveMember) -> ArchiveFileJson:
    dumped: ArchiveFileJson = {
        "name": member.name,
        "format": member.format,
        "source": submission.source_of(member),
        "lines_before": member.lines_before,
    }
    if member.rows is not None:
        dumped["rows"] = member.rows
    if member.header is not None:
        dumped["columns"] = column_meanings(member.format, member.header)
    return dumped


@lru_cache(maxsize=1_000)
def _single_template(caller: str) -> bytes:
    """Renders the status of a caller's request that was just accepted, with two placeholders.

    A replacement hits nothing else: the sample id is random, and the member `received_at` contains
    quotes, which no value does unescaped.
    """
    sample = _accepted_single(uuid4(), caller, EPOCH)
    text = orjson.dumps(dump_submission(sample, now=EPOCH)).replace(b"%", b"%%")
    received_at = b'"received_at":%b'
    with_time = text.replace(received_at % _time_in_json(EPOCH), received_at % b"%(received_at)b")
    return with_time.replace(str(sample.id).encode(), b"%(id)b")


def _accepted_single(
    id_: UUID, caller: str, received_at: datetime, ignored: tuple[str, ...] = ()
) -> Submission:
    return Submission(
        id=id_,
        kind=Kind.SINGLE,
        caller=caller,
        caller_kind=CallerKind.SERVER,  # is not rendered
        received_at=received_at,
        total=1,
        ignored_columns=ignored,
    )


def _time_in_json(time: datetime) -> bytes:
    """Returns a time as JSON, equal to `format_timestamp`."""
    return orjson.dumps(time.astimezone(UTC), option=orjson.OPT_UTC_Z)


def render_accepted_single_fast(
    submission_id: str, caller: str, received_at: datetime, ignored: tuple[str, ...] = ()
) -> bytes:
    """Renders the status of a single request that was just accepted, as JSON.

    Equal to the result of `dump_submission`, the reference, in a twentieth of its time where all
    members of the request are read.
    """
    if ignored:
        submission = _accepted_single(UUID(submission_id), caller, received_at, ignored)
        return orjson.dumps(dump_submission(submission, now=received_at))
    values = {b"id": submission_id.encode(), b"received_at": _time_in_json(received_at)}
    return _single_template(caller) % values


def caller_name(caller: str) -> str:
    """Returns the name of a caller without the prefix of its kind."""
    return caller.partition(":")[2] or caller


def _timestamp(time: datetime | None) -> str | None:
    return None if time is None else format_timestamp(time)
