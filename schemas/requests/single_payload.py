"""The stored form of a batch of single requests, each of its own submission."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from enrollment.domain.codes import CallerKind
from enrollment.domain.model import EPOCH, Attribute, microseconds
from schemas.encoding.compact import pack_json, unpack_json
from schemas.requests.parsed import ParsedRequest


class Single(NamedTuple):
    """One request with its submission, its caller and the time of receipt."""

    submission_id: UUID
    caller: str
    caller_kind: CallerKind
    received_at: datetime
    request: ParsedRequest


def encode_singles(singles: Sequence[Single]) -> bytes:
    """Returns the batch's payload."""
    return pack_json(
        [
            (
                single.submission_id.hex,
                single.caller,
                single.caller_kind.value,
                microseconds(single.received_at),
                _plain(single.request),
            )
            for single in singles
        ]
    )


def decode_singles(payload: bytes) -> list[Single]:
    """Decodes the singles of a batch's payload."""
    rows: Any = unpack_json(payload)
    return [
        Single(UUID(hex=row[0]), row[1], CallerKind(row[2]), _time(row[3]), _request(row[4]))
        for row in rows
    ]


def _plain(request: ParsedRequest) -> tuple[object, ...]:
    requested_at = request.requested_at
    return (*request[:-1], None if requested_at is None else microseconds(requested_at))


def _time(microseconds_since_epoch: int) -> datetime:
    return EPOCH + timedelta(microseconds=microseconds_since_epoch)


def _request(cells: list[Any]) -> ParsedRequest:
    *plain, requested_at = cells
    request = ParsedRequest._make([*plain, None if requested_at is None else _time(requested_at)])
    if request.attributes is None:
        return request
    return request._replace(attributes=tuple(Attribute(*cell) for cell in request.attributes))
