"""Decodes claimed batches to rows."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from itertools import islice
from types import MappingProxyType
from typing import NamedTuple
from uuid import UUID

from enrollment.domain.crosswalks import ExternalId
from enrollment.domain.model import RIGHTS, Outcome, Request
from enrollment.domain.submissions import Submission
from enrollment.storage.queue.batches import intake_number
from enrollment.storage.queue.claims import ClaimedBatch
from schemas.files.raw_rows import RawRow, RowFormat, decode_raw_rows, format_of_batch
from schemas.files.record_states import RecordKey, key_of
from schemas.files.row_payload import ParsedRow, damage_of, decode_rows
from schemas.requests.parsed import without_details
from schemas.requests.single_payload import Single, decode_singles
from worker.processing import attempts
from worker.processing.row_resolution import NO_USERNAMES, DecodedRow, resolve

#: Maps ids of other systems to local ids.
FindIds = Callable[[Collection[ExternalId]], Mapping[ExternalId, str]]

NOTHING_ENDED: Mapping[int, RecordKey] = MappingProxyType({})
#: Creates a NamedTuple without its `__new__`, which is half of the cost per row (decision 14).
_new = tuple.__new__


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

    Its rows are settled where every one of them names its learner by an undamaged username alone.
    """
    parsed = decode_rows(payload, row_format.encoding, row_format.header, (), row_format.options)
    rows = list(_rows(batch_id, submission, parsed))
    if any(map(_needs_learners, rows)):
        return DecodedBatch(rows)
    return DecodedBatch(rows, [resolve(row, NO_USERNAMES) for row in rows])


def _needs_learners(row: DecodedRow) -> bool:
    """Returns whether a row cannot be settled without looking up learners."""
    request = row.request
    if request is None:
        return False
    return request.username is None or request.email is not None or row.doubt is not None


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
            doubt=None if is_self else damage_of(request),
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
            invalid = (None, row.findings, row.user, row.course_id, False, row.not_applicable, None)
            yield _new(DecodedRow, (*source, row.line, *invalid))
            continue
        if default_mode is not None and request.mode is None:
            request = request._replace(mode=default_mode)
        doubt = row.doubt
        yield _new(DecodedRow, (*source, row.line, request, None, None, None, False, None, doubt))
