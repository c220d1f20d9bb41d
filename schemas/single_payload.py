"""Singles: requests that came alone and wait in one batch with others."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from enrollment.domain.codes import CallerKind
from enrollment.domain.model import EPOCH, Attribute, microseconds
from schemas.compact import pack_json, unpack_json
from schemas.parsed import ParsedRequest


class Single(NamedTuple):
    """One request with what was settled about it at the gate."""

    submission_id: UUID
    caller: str
    caller_kind: CallerKind
    received_at: datetime
    request: ParsedRequest


def encode_singles(singles: Sequence[Single]) -> bytes:
    """The batch's payload."""
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
    """The singles out of a batch's payload."""
    rows: Any = unpack_json(payload)
    return [
        Single(UUID(hex=row[0]), row[1], CallerKind(row[2]), _moment(row[3]), _request(row[4]))
        for row in rows
    ]


def _plain(request: ParsedRequest) -> tuple[object, ...]:
    asked = request.requested_at
    return (*request[:-1], None if asked is None else microseconds(asked))


def _moment(number: int) -> datetime:
    return EPOCH + timedelta(microseconds=number)


def _request(cells: list[Any]) -> ParsedRequest:
    *plain, asked = cells
    request = ParsedRequest._make([*plain, None if asked is None else _moment(asked)])
    if request.attributes is None:
        return request
    return request._replace(attributes=tuple(Attribute(*cell) for cell in request.attributes))
