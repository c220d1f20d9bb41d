"""Decodes claimed batches to rows, and rows to requests with effective time and precedence."""

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
from schemas.files.formats.applicability import NotApplicable
from schemas.files.raw_rows import RawRow, RowFormat, decode_raw_rows, format_of_batch
from schemas.files.record_states import RecordKey, key_of
from schemas.files.row_payload import ParsedRow, decode_rows
from schemas.findings import Rule
from schemas.requests.parsed import ParsedRequest
from schemas.requests.single_payload import Single, decode_singles
from worker.processing import attempts

#: Maps ids of other systems to local ids.
FindIds = Callable[[Collection[ExternalId]], Mapping[ExternalId, str]]

#: Usernames by e-mail where no row names its learner by e-mail.
NO_USERNAMES: Mapping[str, str] = MappingProxyType({})
NOTHING_ENDED: Mapping[int, RecordKey] = MappingProxyType({})
#: Creates a NamedTuple without its `__new__`, which is half of the cost per row (decision 14).
_new = tuple.__new__


class DecodedRow(NamedTuple):
    """One row of a claimed batch, with the caller and the time of its submission."""

    batch_id: int
    submission_id: UUID
    caller: str
    rights: Rights
    received_at: datetime
    #: Position of the submission in the order of intake.
    intake: int
    line: int
    #: None: the row is invalid, for the reasons in `findings`.
    request: ParsedRequest | None
    findings: tuple[Mapping[str, object], ...] | None = None
    #: Learner and course that an invalid row names, as far as they could be read.
    user: str | None = None
    course_id: str | None = None
    #: Whether deciding it makes its whole batch fail.
    is_poisonous: bool = False
    #: Set if the row asks for nothing here.
    not_applicable: NotApplicable | None = None


class DecodedBatch(NamedTuple):
    """The rows of a batch that are attempted, in order."""

    rows: list[DecodedRow]
    #: A request or an outcome per row, where that needs no look-up of learners.
    settled: list[Request | Outcome] | None = None
    #: Keys of the records that its rows end, by the positions of these rows.
    ended: Mapping[int, RecordKey] = NOTHING_ENDED


#: Returns a prefetched batch, if it was prefetched with that format.
TakePrefetched = Callable[[ClaimedBatch, RowFormat], DecodedBatch | None]


def decode_all(
    batches: Iterable[ClaimedBatch],
    submissions: Mapping[UUID, Submission],
    find: FindIds,
    take_prefetched: TakePrefetched,
) -> list[DecodedBatch]:
    """Decodes the batches that were not prefetched; returns all of them, in order.

    Ids of other systems are looked up by one call for all batches together.
    """
    opened = [(batch, _open_batch(batch, submissions, take_prefetched)) for batch in batches]
    local_ids = _find_local_ids([content for _, content in opened], find)
    return [
        content
        if isinstance(content, DecodedBatch)
        else _decode_batch(batch, submissions, content, local_ids)
        for batch, content in opened
    ]


def decode_native(
    batch_id: int, payload: bytes, row_format: RowFormat, submission: Submission
) -> DecodedBatch:
    """Decodes a batch of a file with native columns and ids.

    Its rows are settled where every one of them names a username.
    """
    parsed = decode_rows(payload, row_format.encoding, row_format.header, (), row_format.options)
    rows = list(_rows(batch_id, submission, parsed))
    if any(row.request is not None and row.request.username is None for row in rows):
        return DecodedBatch(rows)
    return DecodedBatch(rows, [resolve(row, NO_USERNAMES) for row in rows])


def is_native(row_format: RowFormat) -> bool:
    """Returns whether rows of a format have native columns and native ids."""
    return row_format.is_native and row_format.source is None


class _RawBatch(NamedTuple):
    """Rows with the columns or the ids of another system."""

    #: The system that their ids belong to; None: native ids.
    source: str | None
    rows: list[RawRow]


def _open_batch(
    batch: ClaimedBatch,
    submissions: Mapping[UUID, Submission],
    take_prefetched: TakePrefetched,
) -> DecodedBatch | Iterator[ParsedRow] | _RawBatch:
    """Returns the prefetched batch, or its rows with native ids, or its rows as they were sent."""
    if batch.submission_id is None:
        return iter(())
    submission = submissions[batch.submission_id]
    row_format = format_of_batch(submission, batch.payload)
    excluded = attempts.poisonous_positions(batch)
    if not is_native(row_format):
        raw_rows = decode_raw_rows(batch.payload, row_format, excluded)
        return _RawBatch(row_format.source, list(raw_rows))
    if batch.failure_search is None and (decoded := take_prefetched(batch, row_format)) is not None:
        return decoded
    form = (row_format.encoding, row_format.header)
    return decode_rows(batch.payload, *form, excluded, row_format.options)


def _decode_batch(
    batch: ClaimedBatch,
    submissions: Mapping[UUID, Submission],
    content: Iterator[ParsedRow] | _RawBatch,
    local_ids: Mapping[ExternalId, str],
) -> DecodedBatch:
    if batch.submission_id is None:
        rows = _singles(batch, decode_singles(batch.payload))
    else:
        parsed = _map_ids(content, local_ids)
        rows = _rows(batch.id, submissions[batch.submission_id], parsed)
    attempted = list(rows if batch.failure_search is None else _limit_to_prefix(batch, rows))
    return DecodedBatch(attempted, ended=_ended_records(content, attempted))


def _ended_records(
    content: Iterator[ParsedRow] | _RawBatch, rows: Iterable[DecodedRow]
) -> Mapping[int, RecordKey]:
    if not isinstance(content, _RawBatch):
        return NOTHING_ENDED
    return {
        position: key
        for position, (row, raw) in enumerate(zip(rows, content.rows, strict=False))
        if row.request is not None
        and not row.request.is_active
        and (key := key_of(raw, content.source)) is not None
    }


def _find_local_ids(
    opened: Iterable[DecodedBatch | Iterator[ParsedRow] | _RawBatch], find: FindIds
) -> Mapping[ExternalId, str]:
    external_ids: set[ExternalId] = set()
    for content in opened:
        if isinstance(content, _RawBatch) and (source := content.source) is not None:
            external_ids.update(external for raw in content.rows for external in raw.ids(source))
    return find(external_ids) if external_ids else {}


def _map_ids(
    content: Iterator[ParsedRow] | _RawBatch, local_ids: Mapping[ExternalId, str]
) -> Iterator[ParsedRow]:
    if not isinstance(content, _RawBatch):
        return content
    return (raw.row(content.source, local_ids) for raw in content.rows)


def _limit_to_prefix(batch: ClaimedBatch, rows: Iterator[DecodedRow]) -> Iterator[DecodedRow]:
    """Yields the attempted prefix of a batch that failed before; marks its poison requests."""
    poisonous = attempts.poisonous_positions(batch)
    for position, row in enumerate(islice(rows, attempts.prefix_length(batch))):
        yield row._replace(is_poisonous=True) if position in poisonous else row


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
    source = (
        batch_id,
        submission.id,
        submission.caller,
        RIGHTS[submission.caller_kind],
        submission.received_at,
        submission.intake or 0,
    )
    default_mode = submission.options.default_mode
    for row in rows:
        request = row.request
        if request is None:
            invalid = (None, row.findings, row.user, row.course_id, False, row.not_applicable)
            yield _new(DecodedRow, (*source, row.line, *invalid))
            continue
        if default_mode is not None and request.mode is None:
            request = request._replace(mode=default_mode)
        yield _new(DecodedRow, (*source, row.line, request, None, None, None, False, None))


def resolve(row: DecodedRow, usernames: Mapping[str, str]) -> Request | Outcome:
    """Returns the request to decide, or the outcome of a row that fails before any decision.

    `usernames` maps the e-mails of known learners to their usernames.
    """
    request = row.request
    if row.is_poisonous:
        return _failed(row, Code.INVALID, Reason.INTERNAL_ERROR, ())
    if request is None:
        return _without_request(row)
    username = request.username or usernames.get(request.email or "")
    if username is None:
        return _failed(row, Code.REFUSED, Reason.LEARNER_NOT_FOUND, ())
    stated = request.requested_at
    if stated is not None:
        if not row.rights.state_time:
            return _failed(row, Code.REFUSED, Reason.NOT_PERMITTED, ())
        if stated > row.received_at:
            finding = {
                "field": "requested_at",
                "value": format_timestamp(stated),
                "rule": Rule.IN_THE_FUTURE.value,
            }
            return _failed(row, Code.INVALID, Reason.INVALID_ROW, (finding,))
    effective_at = row.received_at if stated is None else stated
    precedence = precedence_of(
        effective_at, stated=stated is not None, intake=row.intake, line=row.line
    )
    fields = (username, request.course_id, effective_at, precedence, row.rights, *request[3:8])
    return _new(Request, (row.line, *fields))


def _without_request(row: DecodedRow) -> Outcome:
    """Returns the outcome of a row that is skipped or cannot be read."""
    if row.not_applicable is None:
        return _failed(row, Code.INVALID, Reason.INVALID_ROW, row.findings or ())
    reason, details = row.not_applicable.reason, row.not_applicable.details
    return Outcome(row.line, row.user, row.course_id, Code.SKIPPED, reason, details)


def _failed(
    row: DecodedRow, code: Code, reason: Reason, findings: tuple[Mapping[str, object], ...]
) -> Outcome:
    request = row.request
    return Outcome(
        row.line,
        row.user if request is None else request.username or request.email,
        row.course_id if request is None else request.course_id,
        code,
        reason,
        {"errors": list(findings)} if findings else None,
    )
