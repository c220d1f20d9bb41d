"""The stored form of a batch of single requests, each of its own submission."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from enrollment.domain.codes import CallerKind
from enrollment.domain.model import EPOCH, Attribute, microseconds
from schemas.encoding.compact import pack_json, unpack_json
from schemas.requests.parsed import ParsedRequest

#: Cells of a request without an opt-in.
_CELLS = 5


class Single(NamedTuple):
    """One request with its submission, its caller and the time of receipt."""

    submission_id: UUID
    caller: str
    caller_kind: CallerKind
    received_at: datetime
    request: ParsedRequest


def encode_singles(singles: Sequence[Single]) -> bytes:
    """Returns the batch's payload.

    An opt-in stands behind the cells that earlier releases read, so that they ignore it.
    """
    rows: list[tuple[object, ...]] = []
    for submission_id, caller, kind, received_at, request in singles:
        at, opt_in = microseconds(received_at), request.email_opt_in
        row = (submission_id.hex, caller, kind.value, at, _plain(request))
        rows.append(row if opt_in is None else (*row, opt_in))
    return pack_json(rows)


def decode_singles(payload: bytes) -> list[Single]:
    """Decodes the singles of a batch's payload."""
    rows: Any = unpack_json(payload)
    return [
        Single(UUID(hex=row[0]), row[1], CallerKind(row[2]), _time(row[3]), _request(row))
        for row in rows
    ]


def _plain(request: ParsedRequest) -> tuple[object, ...]:
    requested_at = request.requested_at
    return (*request[:8], None if requested_at is None else microseconds(requested_at))


def _time(microseconds_since_epoch: int) -> datetime:
    return EPOCH + timedelta(microseconds=microseconds_since_epoch)


def _request(row: list[Any]) -> ParsedRequest:
    *plain, requested_at = row[4]
    time = None if requested_at is None else _time(requested_at)
    request = ParsedRequest._make([*plain, time, row[5] if len(row) > _CELLS else None])
    if request.attributes is None:
        return request
    return request._replace(attributes=tuple(Attribute(*cell) for cell in request.attributes))
