"""Bodies of one object, or of a list of objects; long ones are parsed in pool threads."""

from collections.abc import Callable
from typing import Generic, NamedTuple, TypeVar

from falcon.asgi import Request, Response
from marshmallow import ValidationError

from api_gateway.database import Database
from api_gateway.http.problems import bad_request, too_large, unsupported
from api_gateway.http.request_body import check_is_json, parse_json, read_body
from api_gateway.http.responses import write_json
from api_gateway.resources.common.idempotent_write import read_key_use
from enrollment.storage.idempotency import KeyUse
from schemas.findings import findings_of
from schemas.messages.finding_messages import describe_finding
from schemas.requests.bulk_objects import (
    JSON_MEDIA_TYPE,
    NDJSON_MEDIA_TYPE,
    BulkReader,
    InvalidObjects,
    TooManyObjects,
)

T = TypeVar("T")

#: Maximum bytes of a body that is parsed on the event loop: others would wait for a longer one.
MAX_BODY_ON_LOOP = 16_384
#: Maximum bytes of a body with one object.
MAX_OBJECT_BODY = 1_000_000
#: Maximum bytes of a body with a list of objects.
MAX_BULK_BODY = 16_000_000
#: Maximum number of objects in a list.
MAX_OBJECTS = 10_000


async def parse_body(database: Database, body: bytes, parse: Callable[[], T]) -> T:
    """Returns the result of `parse`: a long body is parsed in a pool thread, not on the event loop.

    Raises what `parse` raises, Overloaded, DatabaseUnavailable.
    """
    return parse() if len(body) <= MAX_BODY_ON_LOOP else await database.run(parse)


async def read_object(req: Request, database: Database, load: Callable[[object], T]) -> T:
    """Reads a JSON body with one object. Raises Problem 400 with all findings, 408, 413, 415."""
    check_is_json(req)
    body = await read_body(req, MAX_OBJECT_BODY)
    return await parse_body(database, body, lambda: load_checked(load, parse_json(body)))


def load_checked(load: Callable[[object], T], data: object) -> T:
    """Returns the loaded data. Raises Problem 400 with the findings."""
    try:
        return load(data)
    except ValidationError as error:
        found = findings_of(error, data)
        raise bad_request("invalid_body", describe_finding(found[0]), *found) from error


class BulkBody(NamedTuple, Generic[T]):
    """The objects of a body, and the Idempotency-Key (None without one)."""

    objects: list[T]
    key_use: KeyUse | None


async def read_objects(req: Request, database: Database, reader: BulkReader[T]) -> BulkBody[T]:
    """Reads a list of objects, and parses it in a pool thread. Raises Problem 400, 413, 415."""
    media_type = (req.content_type or "").partition(";")[0].strip().lower()
    if media_type not in {JSON_MEDIA_TYPE, NDJSON_MEDIA_TYPE}:
        raise unsupported(f"Send {JSON_MEDIA_TYPE} or {NDJSON_MEDIA_TYPE}.")
    body = await read_body(req, MAX_BULK_BODY)
    try:
        objects = await database.run(lambda: reader.read(body, media_type))
    except TooManyObjects as error:
        raise too_large(
            f"At most {reader.max_objects} {reader.name} are accepted at once."
        ) from error
    except InvalidObjects as error:
        raise bad_request("invalid_body", str(error), *error.findings) from error
    return BulkBody(objects, read_key_use(req, body))


def write_saved_count(resp: Response, saved: int, *, is_replay: bool) -> None:
    """Writes the number of saved objects; a replay repeats that of the first request."""
    write_json(resp, {"saved": saved})
    if is_replay:
        resp.set_header("Idempotency-Replayed", "true")
