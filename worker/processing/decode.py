"""From claimed batches to requests that can be judged: whose, asked when, ranked how."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from datetime import datetime
from itertools import islice
from types import MappingProxyType
from typing import NamedTuple
from uuid import UUID

from enrollment.domain.codes import Code, Reason
from enrollment.domain.crosswalks import ExternalId
from enrollment.domain.model import RIGHTS, Outcome, Request, Rights, precedence_of
from enrollment.domain.rules import format_timestamp
from enrollment.domain.submissions import Submission
from enrollment.storage.queue.batches import intake_number
from enrollment.storage.queue.claims import ClaimedBatch
from schemas.files.raw_rows import RawRow, RowFormat, decode_raw_rows, format_of_batch
from schemas.files.row_payload import ParsedRow, decode_rows
from schemas.requests.parsed import ParsedRequest
from schemas.requests.single_payload import Single, decode_singles
from worker.processing import attempts

#: What ids of other systems are here.
FindIds = Callable[[Collection[ExternalId]], Mapping[ExternalId, str]]

#: Whose e-mails are known where none has to be.
NO_CALLER: Mapping[str, str] = MappingProxyType({})
#: A tuple without the call of its class, which takes half of the time of what happens a row.
_new = tuple.__new__


class DecodedRow(NamedTuple):
    """One row of a claimed batch, with what its submission says about it."""

    batch_id: int
    submission_id: UUID
    caller: str
    rights: Rights
    received_at: datetime
    #: Place of the submission in the order of taking in.
    intake: int
    line: int
    #: None: the row cannot be read, for the reasons in ``findings``.
    request: ParsedRequest | None
    findings: tuple[Mapping[str, object], ...] | None = None
    #: Whom and what a row names that cannot be read.
    user: str | None = None
    course_id: str | None = None
    #: Judging it makes its whole batch fail.
    is_poisonous: bool = False


class DecodedBatch(NamedTuple):
    """The rows of a batch that are to be tried, in order."""

    rows: list[DecodedRow]
    #: The rows settled, where nothing else has to be known for that.
    settled: list[Request | Outcome] | None = None


def decode_all(
    batches: Iterable[ClaimedBatch],
    submissions: Mapping[UUID, Submission],
    find: FindIds,
    known: Callable[[ClaimedBatch, RowFormat], DecodedBatch | None],
) -> list[DecodedBatch]:
    """What the batches hold, as far as it is not known already.

    Ids of other systems are looked for once, those of all batches together.
    """
    opened = [(batch, _open_batch(batch, submissions, known)) for batch in batches]
    ours = _find_translations([content for _, content in opened], find)
    return [
        content
        if isinstance(content, DecodedBatch)
        else _decode_batch(batch, submissions, content, ours)
        for batch, content in opened
    ]


def decode_plain(batch_id: int, payload: bytes, form: RowFormat, head: Submission) -> DecodedBatch:
    """A batch of a file in our own columns and ids, its rows settled where each has a username."""
    rows = list(
        _rows(batch_id, head, decode_rows(payload, form.encoding, form.header)),
    )
    if any(row.request is not None and row.request.username is None for row in rows):
        return DecodedBatch(rows)
    return DecodedBatch(rows, [resolve(row, NO_CALLER) for row in rows])


def is_native(form: RowFormat) -> bool:
    """Whether rows of a form are in our own columns and name our own ids."""
    return form.is_native and form.source is None


class _RawBatch(NamedTuple):
    """Rows of another system's columns, or with its ids."""

    #: Whose ids they have; None: ours.
    source: str | None
    rows: list[RawRow]


def _open_batch(
    batch: ClaimedBatch,
    submissions: Mapping[UUID, Submission],
    known: Callable[[ClaimedBatch, RowFormat], DecodedBatch | None],
) -> DecodedBatch | Iterator[ParsedRow] | _RawBatch:
    """What is known of a batch, or its rows in our ids, or as they were sent."""
    if batch.submission_id is None:
        return iter(())
    head = submissions[batch.submission_id]
    form = format_of_batch(head, batch.payload)
    left_out = attempts.poisonous_positions(batch)
    if not is_native(form):
        return _RawBatch(form.source, list(decode_raw_rows(batch.payload, form, left_out)))
    if batch.suspicion is None and (read := known(batch, form)) is not None:
        return read
    return decode_rows(batch.payload, form.encoding, form.header, left_out)


def _decode_batch(
    batch: ClaimedBatch,
    submissions: Mapping[UUID, Submission],
    content: Iterator[ParsedRow] | _RawBatch,
    ours: Mapping[ExternalId, str],
) -> DecodedBatch:
    if batch.submission_id is None:
        rows = _singles(batch, decode_singles(batch.payload))
    else:
        rows = _rows(batch.id, submissions[batch.submission_id], _map_rows(content, ours))
    return DecodedBatch(list(rows if batch.suspicion is None else _limit_to_prefix(batch, rows)))


def _find_translations(
    opened: Iterable[DecodedBatch | Iterator[ParsedRow] | _RawBatch], find: FindIds
) -> Mapping[ExternalId, str]:
    wanted: set[ExternalId] = set()
    for content in opened:
        if isinstance(content, _RawBatch) and (source := content.source) is not None:
            wanted.update(theirs for sent in content.rows for theirs in sent.ids(source))
    return find(wanted) if wanted else {}


def _map_rows(
    content: Iterator[ParsedRow] | _RawBatch, ours: Mapping[ExternalId, str]
) -> Iterator[ParsedRow]:
    if not isinstance(content, _RawBatch):
        return content
    return (sent.row(content.source, ours) for sent in content.rows)


def _limit_to_prefix(batch: ClaimedBatch, rows: Iterator[DecodedRow]) -> Iterator[DecodedRow]:
    """The beginning of a batch under suspicion; those found to be poisonous are marked."""
    left_out = attempts.poisonous_positions(batch)
    for place, row in enumerate(islice(rows, attempts.prefix_length(batch))):
        yield row._replace(is_poisonous=True) if place in left_out else row


def _singles(batch: ClaimedBatch, singles: Iterable[Single]) -> Iterator[DecodedRow]:
    for position, single in enumerate(singles):
        yield DecodedRow(
            batch.id,
            single.submission_id,
            single.caller,
            RIGHTS[single.caller_kind],
            single.received_at,
            intake_number(batch.id, position),
            1,
            single.request,
        )


def _rows(batch_id: int, submission: Submission, rows: Iterable[ParsedRow]) -> Iterator[DecodedRow]:
    whose = (batch_id, submission.id, submission.caller, RIGHTS[submission.caller_kind])
    when = (submission.received_at, submission.intake or 0)
    default_mode = submission.options.default_mode
    for row in rows:
        request = row.request
        if request is None:
            told = (None, row.findings, row.user, row.course_id, False)
            yield _new(DecodedRow, (*whose, *when, row.line, *told))
            continue
        if default_mode is not None and request.mode is None:
            request = request._replace(mode=default_mode)
        yield _new(DecodedRow, (*whose, *when, row.line, request, None, None, None, False))


def resolve(asked: DecodedRow, usernames: Mapping[str, str]) -> Request | Outcome:
    """A row as a request to be judged, or its outcome where it cannot come to that.

    ``usernames`` maps the e-mails of known learners to their usernames.
    """
    request = asked.request
    if asked.is_poisonous:
        return _invalid_outcome(asked, Code.INVALID, Reason.INTERNAL_ERROR, ())
    if request is None:
        return _invalid_outcome(asked, Code.INVALID, Reason.INVALID_ROW, asked.findings or ())
    username = request.username or usernames.get(request.email or "")
    if username is None:
        return _invalid_outcome(asked, Code.REFUSED, Reason.LEARNER_NOT_FOUND, ())
    stated = request.requested_at
    if stated is not None:
        if not asked.rights.state_time:
            return _invalid_outcome(asked, Code.REFUSED, Reason.NOT_PERMITTED, ())
        if stated > asked.received_at:
            late = {
                "field": "requested_at",
                "value": format_timestamp(stated),
                "rule": "in_the_future",
            }
            return _invalid_outcome(asked, Code.INVALID, Reason.INVALID_ROW, (late,))
    asked_at = asked.received_at if stated is None else stated
    clock = precedence_of(asked_at, stated=stated is not None, intake=asked.intake, line=asked.line)
    said = (username, request.course_id, asked_at, clock, asked.rights, *request[3:8])
    return _new(Request, (asked.line, *said))


def _invalid_outcome(
    asked: DecodedRow, code: Code, reason: Reason, findings: tuple[Mapping[str, object], ...]
) -> Outcome:
    request = asked.request
    return Outcome(
        asked.line,
        asked.user if request is None else request.username or request.email,
        asked.course_id if request is None else request.course_id,
        code,
        reason,
        {"errors": list(findings)} if findings else None,
    )
