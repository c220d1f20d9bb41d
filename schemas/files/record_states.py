"""States of the records of a file: whether each of them keeps its learner, as digests of ids.

Several records of another system may stand for one enrollment here. Which of them do is known only
when a row is processed, because crosswalks apply as they are then. So a file that ends records is
stored with the state of each record under its external ids, and a worker looks up all external ids
of an enrollment (decision 19).
"""

import struct
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from hashlib import blake2b
from typing import NamedTuple

from enrollment.domain.codes import IdKind
from enrollment.domain.submissions import Submission
from schemas.encoding.compact import pack, unpack
from schemas.fields import parse_email
from schemas.files.formats.detect import FORMATS_BY_NAME, columns_of_format
from schemas.files.raw_rows import RawRow, RowFormat, decode_raw_rows, format_of_batch
from schemas.files.row_payload import CSV_ROWS, read_payload, require_header
from schemas.requests.parsed import InvalidRequest
from schemas.requests.schema import load_request

#: Values of `is_active` in a CSV file that withdraw.
_NATIVE_WORDS = ("false", "0", "no")
#: In every text: rows that can withdraw in words that are not known here.
_ANY_WORD = ("",)
#: Members of a body that need no validation beside the ids.
_PLAIN_MEMBERS = frozenset({"user", "email", "course_id", "is_active"})
#: Stand for ids that are valid once they are translated.
_VALID_IDS = {"user": "learner", "course_id": "org/course/run"}
#: Bytes of a stored state: three digests and a flag.
_STATE_BYTES = 25


class RecordKey(NamedTuple):
    """Identifies a record: digests of learner, course, and what else distinguishes it."""

    learner: int
    course: int
    record: int


def digest_of_id(kind: IdKind, source: str | None, external_id: str) -> int:
    """Returns the digest of an id of a system (None: this service); signed, of 64 bits.

    E-mails are the same in any case, as they are when they are looked up.
    """
    if kind is IdKind.LEARNER:
        external_id = parse_email(external_id) or external_id
    return _digest(f"{kind}\0{source or ''}\0{external_id}")


@lru_cache(maxsize=8192)
def _digest(text: str) -> int:
    hashed = blake2b(text.encode(errors="surrogatepass"), digest_size=8)
    return int.from_bytes(hashed.digest(), "little", signed=True)


def key_of(raw: RawRow, source: str | None) -> RecordKey | None:
    """Returns the key of a row's record; None where the row names no learner or no course."""
    body = raw.body or {}
    learner, course = body.get("user") or body.get("email"), body.get("course_id")
    if not (isinstance(learner, str) and isinstance(course, str) and learner and course):
        return None
    return RecordKey(
        digest_of_id(IdKind.LEARNER, source, learner),
        digest_of_id(IdKind.COURSE, source, course),
        _digest(raw.record),
    )


def may_have_records(submission: Submission) -> bool:
    """Returns whether rows of a submission are records: in a foreign format, or of a source."""
    if submission.options.source is not None:
        return True
    formats = {submission.format, *(member.format for member in submission.files)}
    return not formats.isdisjoint(FORMATS_BY_NAME) or any(m.source for m in submission.files)


def may_end_records(submission: Submission, payload: bytes) -> bool:
    """Returns False for a batch that certainly ends no record; needs no look at its rows."""
    words = _withdrawing_words(format_of_batch(submission, payload))
    if not words:
        return False
    text = read_payload(payload)[2].decode(errors="replace").casefold()
    return any(word in text for word in words)


def _withdrawing_words(row_format: RowFormat) -> Iterable[str]:
    if not row_format.is_native:
        statuses = FORMATS_BY_NAME[row_format.format].statuses or {}
        return [word for word, is_active in statuses.items() if is_active is False]
    if row_format.source is None:
        return ()
    if row_format.encoding != CSV_ROWS:
        return _ANY_WORD
    columns = columns_of_format(row_format.format, require_header(row_format.header))
    return _NATIVE_WORDS if "is_active" in columns.names else ()


def states_of_batch(submission: Submission, payload: bytes) -> dict[RecordKey, bool]:
    """Returns whether each record of a batch keeps its learner, by its last row there.

    Rows that are invalid by themselves, and those that are skipped, say nothing about a record.
    """
    row_format = format_of_batch(submission, payload)
    if row_format.is_native and row_format.source is None:
        return {}
    states: dict[RecordKey, bool] = {}
    for raw in decode_raw_rows(payload, row_format):
        is_active = _requested_activity(raw)
        if is_active is not None and (key := key_of(raw, row_format.source)) is not None:
            states[key] = is_active
    return states


def _requested_activity(raw: RawRow) -> bool | None:
    """Returns whether a row enrolls or withdraws; None where it does neither."""
    body = raw.body
    if body is None or raw.findings or raw.not_applicable is not None:
        return None
    if not _PLAIN_MEMBERS.issuperset(body) and not _is_valid(body):
        return None
    is_active = body.get("is_active", True)
    return is_active if isinstance(is_active, bool) else None


def _is_valid(body: Mapping[str, object]) -> bool:
    """Returns whether everything but the ids of a body is valid."""
    others = {name: value for name, value in body.items() if name not in {"email", *_VALID_IDS}}
    try:
        load_request({**others, **_VALID_IDS})
    except InvalidRequest:
        return False
    return True


def encode_states(states: Mapping[RecordKey, bool]) -> bytes:
    """Encodes the states of a batch."""
    columns = zip(*states, strict=True)
    digests = b"".join(struct.pack(f"<{len(column)}q", *column) for column in columns)
    return pack(digests + bytes(states.values()))


def decode_states(stored: bytes) -> Iterator[tuple[int, int, int, int]]:
    """Yields learner, course, record and whether it is kept (1 or 0), of each record."""
    content = unpack(stored)
    number = len(content) // _STATE_BYTES
    digests = struct.unpack_from(f"<{3 * number}q", content)
    columns = (digests[:number], digests[number : 2 * number], digests[2 * number :])
    return zip(*columns, content[3 * 8 * number :], strict=True)
