"""Parses and renders courses: the course object of Open edX, and members of this service."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Final, Literal, TypedDict

from marshmallow import ValidationError, pre_load, validate, validates

from enrollment.domain.model import Course, Mode
from enrollment.domain.rules import format_timestamp
from schemas.encoding.json_types import Count, Timestamp
from schemas.fields import (
    MAX_MODE,
    MAX_NAME,
    BoundedInteger,
    BoundedList,
    BoundedString,
    CourseId,
    Nested,
    StrictBoolean,
    StrictSchema,
    TimestampField,
)
from schemas.findings import ONE_OF_THESE

MAX_MODES = 100
MAX_COHORTS = 1_000
MAX_DESCRIPTION = 10_000
PacingTypeValue = Literal["Self Paced", "Instructor Paced"]
SELF_PACED: Final = "Self Paced"
INSTRUCTOR_PACED: Final = "Instructor Paced"


class ModeJson(TypedDict):
    """A course mode."""

    slug: str
    name: str
    min_price: Count
    suggested_prices: str
    currency: str
    expiration_datetime: Timestamp | None
    description: str | None
    sku: str | None
    bulk_sku: str | None


class CourseDetailsJson(TypedDict):
    """The course object of the Open edX enrollment API."""

    course_id: str
    course_name: str
    enrollment_start: Timestamp | None
    enrollment_end: Timestamp | None
    course_start: Timestamp | None
    course_end: Timestamp | None
    invite_only: bool
    course_modes: list[ModeJson]
    pacing_type: PacingTypeValue


class CourseJson(CourseDetailsJson):
    """A course with everything that is stored; can be sent back unchanged."""

    capacity: Count | None
    cohorts: list[str]
    seats_taken: Count


class CoursePageJson(TypedDict):
    """Courses, ordered by course id."""

    courses: list[CourseJson]
    next: str | None


class SuggestedPrices(BoundedString):
    """Suggested prices: a string, or the list of integers that older clients send."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(max_length=MAX_NAME, pattern=r"([0-9]{1,9}( ?, ?[0-9]{1,9})*)?", **kwargs)

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> str:
        if isinstance(value, list):
            if any(isinstance(price, bool) or not isinstance(price, int) for price in value):
                raise self.make_error("invalid")
            value = ",".join(str(price) for price in value)
        return super()._deserialize(value, attr, data, **kwargs)


class PacingType(BoundedString):
    """The pacing type; the domain stores it as the flag `self_paced`."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(max_length=MAX_NAME, **kwargs)
        pacing_types = (SELF_PACED, INSTRUCTOR_PACED)
        self.validators = [validate.OneOf(pacing_types, error=ONE_OF_THESE)]


class ModeSchema(StrictSchema):
    """A mode of a course."""

    slug = BoundedString(max_length=MAX_MODE, min_length=1, pattern=r"[\w.~-]*", required=True)
    name = BoundedString(max_length=MAX_NAME)
    min_price = BoundedInteger()
    suggested_prices = SuggestedPrices()
    currency = BoundedString(max_length=8, min_length=3, pattern="[A-Za-z]*")
    expiration_datetime = TimestampField(attribute="expires_at", allow_none=True)
    description = BoundedString(max_length=MAX_DESCRIPTION, allow_none=True)
    sku = BoundedString(max_length=MAX_NAME, allow_none=True)
    bulk_sku = BoundedString(max_length=MAX_NAME, allow_none=True)


class CourseSchema(StrictSchema):
    """A course."""

    course_id = CourseId(required=True)
    course_name = BoundedString(max_length=MAX_NAME, attribute="name")
    enrollment_start = TimestampField(allow_none=True)
    enrollment_end = TimestampField(allow_none=True)
    course_start = TimestampField(allow_none=True)
    course_end = TimestampField(allow_none=True)
    invite_only = StrictBoolean()
    course_modes = BoundedList(Nested(ModeSchema), max_items=MAX_MODES, attribute="modes")
    pacing_type = PacingType(attribute="self_paced")
    capacity = BoundedInteger(allow_none=True)
    cohorts = BoundedList(BoundedString(max_length=MAX_NAME, min_length=1), max_items=MAX_COHORTS)
    #: Computed here; ignored in requests.
    seats_taken = BoundedInteger(dump_only=True)

    @pre_load
    def drop_seats_taken(self, data: Any, **_: object) -> Any:
        """Drops `seats_taken`, so that a response can be sent back unchanged."""
        if not isinstance(data, Mapping) or "seats_taken" not in data:
            return data
        return {name: value for name, value in data.items() if name != "seats_taken"}

    @validates("course_modes")
    def check_unique_slugs(self, modes: Sequence[Mapping[str, Any]], data_key: str) -> None:
        """Raises ValidationError for a slug that occurs twice."""
        repeated = _index_of_repeated(mode.get("slug") for mode in modes)
        if repeated is not None:
            raise ValidationError({repeated: {"slug": ["duplicate"]}})

    @validates("cohorts")
    def check_unique_cohorts(self, cohorts: Sequence[str], data_key: str) -> None:
        """Raises ValidationError for a cohort that is listed twice."""
        repeated = _index_of_repeated(cohorts)
        if repeated is not None:
            raise ValidationError({repeated: ["duplicate"]})


COURSE_SCHEMA = CourseSchema()


def load_course(data: object, *, course_id: str | None = None) -> Course:
    """Parses a course; `course_id` is that of the URL, which the body may omit.

    Raises marshmallow's ValidationError, with rules as messages.
    """
    if course_id is not None and isinstance(data, Mapping):
        _refuse_mismatch(data, course_id)
        data = {**data, "course_id": course_id}
    return Course(**_members(COURSE_SCHEMA.load(data)))  # type: ignore[arg-type]


def load_changes(data: object, *, course_id: str | None = None) -> dict[str, Any]:
    """Parses a partial update for `apply_changes`; `course_id` is that of the URL.

    Without it the body must have it. Raises marshmallow's ValidationError.
    """
    if course_id is not None and isinstance(data, Mapping):
        _refuse_mismatch(data, course_id)
    partial = () if course_id is None else ("course_id",)
    return _members(COURSE_SCHEMA.load(data, partial=partial))  # type: ignore[arg-type]


def apply_changes(course: Course, members: Mapping[str, Any]) -> Course:
    """Returns the course with some members replaced."""
    return replace(course, **members)


def dump_details(course: Course, *, at: datetime, include_expired: bool) -> CourseDetailsJson:
    """Renders the course details object of Open edX."""
    modes = course.all_modes() if include_expired else course.modes_at(at)
    return _dump(course, modes)


def dump_course(course: Course) -> CourseJson:
    """Renders all stored members of a course, so that it can be sent back unchanged."""
    return {
        **_dump(course, course.modes),
        "capacity": course.capacity,
        "cohorts": list(course.cohorts),
        "seats_taken": course.seats_taken,
    }


def _dump(course: Course, modes: Iterable[Mode]) -> CourseDetailsJson:
    return {
        "course_id": course.course_id,
        "course_name": course.name,
        "enrollment_start": _timestamp(course.enrollment_start),
        "enrollment_end": _timestamp(course.enrollment_end),
        "course_start": _timestamp(course.course_start),
        "course_end": _timestamp(course.course_end),
        "invite_only": course.invite_only,
        "course_modes": [_dump_mode(mode) for mode in modes],
        "pacing_type": SELF_PACED if course.self_paced else INSTRUCTOR_PACED,
    }


def _dump_mode(mode: Mode) -> ModeJson:
    return {
        "slug": mode.slug,
        "name": mode.name,
        "min_price": mode.min_price,
        "suggested_prices": mode.suggested_prices,
        "currency": mode.currency,
        "expiration_datetime": _timestamp(mode.expires_at),
        "description": mode.description,
        "sku": mode.sku,
        "bulk_sku": mode.bulk_sku,
    }


def _timestamp(time: datetime | None) -> str | None:
    return None if time is None else format_timestamp(time)


def _members(loaded: dict[str, Any]) -> dict[str, Any]:
    members = dict(loaded)
    if "modes" in members:
        members["modes"] = tuple(_mode(mode) for mode in members["modes"])
    if "cohorts" in members:
        members["cohorts"] = tuple(members["cohorts"])
    if "self_paced" in members:
        members["self_paced"] = members["self_paced"] == SELF_PACED
    return members


def _mode(loaded: dict[str, Any]) -> Mode:
    return Mode(**loaded | {"currency": loaded.get("currency", "usd").lower()})


def _refuse_mismatch(data: Mapping[str, Any], course_id: str) -> None:
    if data.get("course_id", course_id) != course_id:
        raise ValidationError({"course_id": ["mismatch"]})


def _index_of_repeated(values: Iterable[object]) -> int | None:
    seen = set()
    for index, value in enumerate(values):
        if value in seen:
            return index
        seen.add(value)
    return None
