"""What the resources for courses, learners and invitations share: bodies in, findings out."""

import base64
import binascii
from collections.abc import Callable
from typing import Generic, NamedTuple, TypeVar

from falcon.asgi import Request, Response
from marshmallow import ValidationError

from api_gateway.media import read_body, write_json
from api_gateway.once import use_of_key
from api_gateway.problems import Problem, bad_request, too_large, unsupported
from api_gateway.records import Records
from enrollment.storage.idempotency import KeyUse
from schemas.bulk_objects import JSON, NDJSON, BadObjects, BulkReader, TooManyObjects, sentence
from schemas.fields import is_storable
from schemas.findings import findings_of
from schemas.json_types import SavedJson

T = TypeVar("T")

#: Bytes of one course, learner or invitation.
MAX_BODY = 1_000_000
#: Bytes of many.
MAX_MANY = 16_000_000
#: Objects taken at once.
MOST = 10_000
DEFAULT_PAGE = 100
MAX_PAGE = 1_000


def checked(load: Callable[[], T], data: object) -> T:
    """What ``load`` makes of the data, or a Problem that lists what is wrong."""
    try:
        return load()
    except ValidationError as error:
        found = findings_of(error, data)
        raise bad_request("invalid_body", sentence(found[0]), *found) from error


class Sent(NamedTuple, Generic[T]):
    """The objects of a body, and the key that they came under."""

    objects: list[T]
    use: KeyUse | None


async def read_many(req: Request, records: Records, many: BulkReader[T]) -> Sent[T]:
    """The objects of a body, read beside the event loop."""
    media_type = (req.content_type or "").partition(";")[0].strip().lower()
    if media_type not in {JSON, NDJSON}:
        raise unsupported(f"Send {JSON} or {NDJSON}.")
    body = await read_body(req, MAX_MANY)
    try:
        objects = await records.run(lambda: many.read(body, media_type))
    except TooManyObjects as error:
        raise too_large(f"At most {many.most} {many.name} are taken at once.") from error
    except BadObjects as error:
        raise bad_request("invalid_body", str(error), *error.found) from error
    return Sent(objects, use_of_key(req, body))


def write_saved(resp: Response, saved: int, *, is_replay: bool) -> None:
    """How many were made or replaced, now or the first time."""
    body: SavedJson = {"saved": saved}
    write_json(resp, body)
    if is_replay:
        resp.set_header("Idempotency-Replayed", "true")


def page_size(req: Request) -> int:
    """How many a caller wants on a page."""
    text = req.get_param("limit", default=str(DEFAULT_PAGE))
    if not (text.isascii() and text.isdigit() and len(text) <= 6 and 1 <= int(text) <= MAX_PAGE):  # noqa: PLR2004
        raise _bad_parameter("limit", f"limit must be a whole number from 1 to {MAX_PAGE}.")
    return int(text)


def cursor_at(last: str) -> str:
    """The opaque name of the place behind the last one shown."""
    return base64.urlsafe_b64encode(last.encode()).decode().rstrip("=")


def place_of(req: Request) -> str | None:
    """The place that a cursor names; None at the beginning."""
    cursor = req.get_param("cursor")
    if not cursor:
        return None
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        place = base64.b64decode(padded, altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError) as error:
        raise _bad_parameter("cursor", "cursor is none that was given out here.") from error
    if not is_storable(place):
        raise _bad_parameter("cursor", "cursor is none that was given out here.")
    return place


def _bad_parameter(name: str, detail: str) -> Problem:
    return bad_request("invalid_parameter", detail, {"field": name, "rule": "range"})
