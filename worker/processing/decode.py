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
from enrollment.domain.rules import MAX_CLOCK_SKEW, format_timestamp
from enrollment.domain.submissions import Submission
from enrollment.storage.queue.batches import intake_number
from enrollment.storage.queue.claims import ClaimedBatch
from schemas.files.raw_rows import RawRow, RowFormat, decode_raw_rows, format_of_batch
from schemas.files.row_payload import ParsedRow, damage_of, decode_rows
from schemas.requests.parsed import ParsedRequest, without_details
from schemas.requests.single_payload import Single, decode_singles
from worker.processing import attempts

#: Maps ids of other systems to local ids.
FindIds = Callable[[Collection[ExternalId]], Mapping[ExternalId, str]]

#: Usernames by e-mail where no row names its learner by e-mail.
NO_USERNAMES: Mapping[str, str] = MappingProxyType({})
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
    #: The finding on a damaged username, which counts unless a learner of exactly that name exists.
    damage: Mapping[str, object] | None = None


class DecodedBatch(NamedTuple):
    """The rows of a batch that are attempted, in order."""

    rows: list[DecodedRow]
    #: A request or an outcome per row, where that needs no look-up of learners.
    settled: list[Request | Outcome] | None = None


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

    Its rows are settled where every one of them names its learner by an undamaged username alone.
    """
    parsed = decode_rows(payload, row_format.encoding, row_format.header)
    rows = list(_rows(batch_id, submission, parsed))
    if any(map(_needs_learners, rows)):
        return DecodedBatch(rows)
    return DecodedBatch(rows, [resolve(row, NO_USERNAMES) for row in rows])


def _needs_learners(row: DecodedRow) -> bool:
    """Returns whether a row cannot be settled without looking up learners."""
    request = row.request
    if request is None:
        return False
    return request.username is None or request.email is not None or row.damage is not None


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
    return decode_rows(batch.payload, row_format.encoding, row_format.header, excluded)


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
    return DecodedBatch(
        list(rows if batch.failure_search is None else _limit_to_prefix(batch, rows))
    )


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
        request, rights = single.request, RIGHTS[single.caller_kind]
        if not rights.is_privileged:
            request, _ = without_details(request)
        if request.username is not None and request.email is not None:
            request = request._replace(email=None)  # as in Open edX, the username alone counts
        is_self = single.caller == f"user:{request.username}"
        yield DecodedRow(
            batch.id,
            single.submission_id,
            single.caller,
            rights,
            single.received_at,
            intake_number(batch.id, position),
            1,
            request,
            damage=None if is_self else damage_of(request),
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
            invalid = (None, row.findings, row.user, row.course_id, False)
            yield _new(DecodedRow, (*source, row.line, *invalid, None))
            continue
        if default_mode is not None and request.mode is None:
            request = request._replace(mode=default_mode)
        yield _new(DecodedRow, (*source, row.line, request, None, None, None, False, row.damage))


def resolve(
    row: DecodedRow, usernames: Mapping[str, str], known: Collection[str] = ()
) -> Request | Outcome:
    """Returns the request to decide, or the outcome of a row that fails before any decision.

    `usernames` maps the e-mails of known learners to their usernames; `known` has those of the
    damaged usernames that learners have.
    """
    request = row.request
    if row.is_poisonous:
        return _failed(row, Code.INVALID, Reason.INTERNAL_ERROR, ())
    if request is None:
        return _failed(row, Code.INVALID, Reason.INVALID_ROW, row.findings or ())
    username, stated = request.username or usernames.get(request.email or ""), request.requested_at
    if row.damage is not None or request.email is not None or stated is not None:
        found = _learner_finding(row, request, usernames, known) or _time_finding(row, request)
        if found is not None:
            return _failed(row, Code.INVALID, Reason.INVALID_ROW, (found,))
    if username is None:
        return _failed(row, Code.REFUSED, Reason.LEARNER_NOT_FOUND, ())
    # A caller with the right to state the time has all of these rights.
    if not row.rights.state_time and not _is_permitted(row.rights, request):
        return _failed(row, Code.REFUSED, Reason.NOT_PERMITTED, ())
    effective_at = row.received_at if stated is None else min(stated, row.received_at)
    precedence = precedence_of(
        effective_at, stated=stated is not None, intake=row.intake, line=row.line
    )
    fields = (username, request.course_id, effective_at, precedence, row.rights, *request[3:8])
    return _new(Request, (row.line, *fields))


def _is_permitted(rights: Rights, request: ParsedRequest) -> bool:
    """Returns whether the caller may state the time, the attributes and the cohort."""
    has_details = request.attributes is not None or request.cohort is not None
    has_time = request.requested_at is not None
    return (rights.state_time or not has_time) and (rights.is_privileged or not has_details)


def _learner_finding(
    row: DecodedRow,
    request: ParsedRequest,
    usernames: Mapping[str, str],
    known: Collection[str],
) -> Mapping[str, object] | None:
    """Returns what is wrong with the learner that a row names."""
    if row.damage is not None and request.username not in known:
        return row.damage
    email, username = request.email, request.username
    if email is None or username is None or usernames.get(email, username) == username:
        return None
    return {"field": "email", "value": email, "rule": "contradiction"}


def _time_finding(row: DecodedRow, request: ParsedRequest) -> Mapping[str, object] | None:
    """Returns what is wrong with the time that a trusted caller states."""
    stated = request.requested_at
    if stated is None or not row.rights.state_time or stated <= row.received_at + MAX_CLOCK_SKEW:
        return None
    value = format_timestamp(stated)
    return {"field": "requested_at", "value": value, "rule": "in_the_future"}


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
