"""Parses and renders destinations."""

import json
from collections.abc import Callable
from typing import Annotated, Any, NamedTuple, TypedDict

from marshmallow import ValidationError, fields, validate

from enrollment.domain.destinations.deliveries import DESTINATION_KINDS, StoredDestination
from enrollment.domain.destinations.records import Destination
from enrollment.domain.rules import format_timestamp
from schemas.destinations.receivers import (
    MAX_COURSE_FILTERS,
    MAX_RECEIVER_URL,
    CourseFilter,
    dump_moment,
)
from schemas.encoding.json_types import Count, Doc, OneOf, Ordinal, Timestamp
from schemas.fields import (
    BoundedInteger,
    BoundedList,
    BoundedString,
    Nested,
    StrictBoolean,
    StrictSchema,
    error_rules,
)
from schemas.findings import DETAIL, ONE_OF_ERROR, RANGE_ERROR, Rule

#: The name of a destination.
DESTINATION_NAME = r"[a-z0-9][a-z0-9_-]{0,39}"
#: Most requests to a destination at the same time, and in a second.
MAX_CONCURRENCY, MAX_REQUESTS_PER_SECOND = 64, 1_000
#: Least and most seconds between two pulls of courses.
MIN_PULL_SECONDS, MAX_PULL_SECONDS = 60, 31 * 86_400
#: Requests at the same time, if the destination does not say.
DEFAULT_CONCURRENCY = 4
_MAX_CREDENTIAL = 500
#: Printable ASCII without a blank at either end.
_HEADER_VALUE = r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?"


class RateField(fields.Float):
    """A number of requests in a second."""

    default_error_messages = error_rules("a number, in JSON without quotes")

    def __init__(self, **kwargs: Any) -> None:
        bounds = validate.Range(min=0.001, max=MAX_REQUESTS_PER_SECOND, error=RANGE_ERROR)
        super().__init__(validate=bounds, **kwargs)

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> float:
        if isinstance(value, bool | str):
            raise self.make_error("invalid")
        return float(super()._deserialize(value, attr, data, **kwargs))


class KindField(BoundedString):
    """A kind of destination."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(max_length=20, **kwargs)
        self.validators = [validate.OneOf(DESTINATION_KINDS, error=ONE_OF_ERROR)]


class DestinationAuthSchema(StrictSchema):
    """Credentials: a client with its secret, or a key."""

    client_id = BoundedString(min_length=1, max_length=_MAX_CREDENTIAL)
    client_secret = BoundedString(min_length=1, max_length=_MAX_CREDENTIAL)
    #: Becomes a header.
    api_key = BoundedString(min_length=1, max_length=_MAX_CREDENTIAL, pattern=_HEADER_VALUE)


class DestinationSchema(StrictSchema):
    """A destination, without its name."""

    kind = KindField(required=True)
    url = BoundedString(max_length=MAX_RECEIVER_URL, required=True)
    auth = Nested(DestinationAuthSchema)
    courses = BoundedList(CourseFilter(), max_items=MAX_COURSE_FILTERS)
    concurrency = BoundedInteger(
        minimum=1, maximum=MAX_CONCURRENCY, load_default=DEFAULT_CONCURRENCY
    )
    requests_per_second = RateField(allow_none=True, load_default=None)
    paused = StrictBoolean(load_default=False)
    pull_courses_every = BoundedInteger(
        minimum=MIN_PULL_SECONDS, maximum=MAX_PULL_SECONDS, allow_none=True, load_default=None
    )


DESTINATION_SCHEMA = DestinationSchema()


class DestinationMembers(NamedTuple):
    """A destination as it is put, and its credentials as JSON; None: the stored ones stay."""

    destination: Destination
    auth: str | None


class DestinationJson(TypedDict):
    """A system that must end in the same state; its credentials are never shown."""

    name: str
    kind: Annotated[str, OneOf(DESTINATION_KINDS)]
    url: str
    courses: Annotated[list[str], Doc("Only these courses, or `org+*`; empty: all.")]
    concurrency: Annotated[Ordinal, Doc("Most requests at the same time.")]
    requests_per_second: Annotated[float | None, Doc("Most requests in a second.")]
    paused: bool
    pull_courses_every: Annotated[Count | None, Doc("Seconds between two pulls of courses.")]
    failures: Annotated[Count, Doc("Rounds of attempts in a row in which nothing arrived.")]
    rests_until: Annotated[Timestamp | None, Doc("Nothing is sent before.")]
    created: Timestamp


class DestinationsJson(TypedDict):
    """All destinations, by name."""

    destinations: list[DestinationJson]


def load_destination(
    data: object, *, name: str, check_url: Callable[[str], object]
) -> DestinationMembers:
    """Parses a destination; `check_url` raises ValueError for a URL that is not allowed.

    Raises marshmallow's ValidationError, with rules as messages.
    """
    members: Any = DESTINATION_SCHEMA.load(data)  # type: ignore[arg-type]
    if "?" in members["url"]:
        detail = "it must have no query: paths are appended to it"
        raise ValidationError({"url": [f"{Rule.DESTINATION}{DETAIL}{detail}"]})
    try:
        check_url(members["url"])
    except ValueError as error:
        raise ValidationError({"url": [f"{Rule.DESTINATION}{DETAIL}{error}"]}) from error
    destination = Destination(
        name,
        members["kind"],
        members["url"],
        frozenset(members.get("courses", ())),
        members["concurrency"],
        members["requests_per_second"],
        members["paused"],
        members["pull_courses_every"],
    )
    return DestinationMembers(destination, _load_auth(members.get("auth")))


def _load_auth(auth: dict[str, str] | None) -> str | None:
    if auth is None:
        return None
    if set(auth) not in ({"client_id", "client_secret"}, {"api_key"}):
        raise ValidationError({"auth": [Rule.REQUIRED]})
    return json.dumps(auth)


def dump_destination(stored: StoredDestination) -> DestinationJson:
    """Renders a destination."""
    destination = stored.destination
    return {
        "name": destination.name,
        "kind": destination.kind,
        "url": destination.url,
        "courses": sorted(destination.courses),
        "concurrency": destination.concurrency,
        "requests_per_second": destination.requests_per_second,
        "paused": destination.is_paused,
        "pull_courses_every": destination.pull_courses_every,
        "failures": stored.failures,
        "rests_until": dump_moment(stored.not_before),
        "created": format_timestamp(stored.created),
    }
