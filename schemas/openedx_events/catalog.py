"""Parses `course.catalog_info.changed` of Open edX's event bus into a patch of a course."""

from collections.abc import Mapping
from io import BytesIO
from typing import Any

from fastavro import parse_schema, schemaless_reader
from marshmallow import ValidationError

from schemas.course_patches import CoursePatch, load_patch
from schemas.courses import INSTRUCTOR_PACED, SELF_PACED
from schemas.openedx_events.avro import record

CATALOG_INFO_CHANGED = "org.openedx.content_authoring.course.catalog_info.changed.v1"
_PACING = {"self": SELF_PACED, "instructor": INSTRUCTOR_PACED}
_OPTIONAL = ["null", "string"]
_SCHEDULE = record(
    "CourseScheduleData",
    start="string",
    pacing="string",
    end=_OPTIONAL,
    enrollment_start=_OPTIONAL,
    enrollment_end=_OPTIONAL,
)
_CATALOG_INFO = record(
    "CourseCatalogData",
    course_key="string",
    name="string",
    schedule_data=_SCHEDULE,
    hidden="boolean",
    invitation_only="boolean",
)
_SCHEMA: Any = parse_schema(record("CloudEvent", catalog_info=_CATALOG_INFO))


class MalformedEvent(ValueError):
    """An event of the bus cannot be read."""


def load_catalog_event(fields: Mapping[bytes, bytes]) -> CoursePatch | None:
    """Parses the fields of an entry; returns None for an event of another type.

    Raises MalformedEvent.
    """
    if fields.get(b"type") != CATALOG_INFO_CHANGED.encode():
        return None
    info = _read_body(fields.get(b"event_data", b""))
    schedule = info["schedule_data"]
    pacing = schedule["pacing"]
    members = {
        "course_id": info["course_key"],
        "course_name": info["name"],
        "course_start": schedule["start"],
        "course_end": schedule["end"],
        "enrollment_start": schedule["enrollment_start"],
        "enrollment_end": schedule["enrollment_end"],
        "invite_only": info["invitation_only"],
        "pacing_type": _PACING.get(pacing, pacing),
    }
    try:
        return load_patch(members)
    except ValidationError as error:
        message = f"not the catalog data of a course: {error.messages}"
        raise MalformedEvent(message) from error


def _read_body(body: bytes) -> Any:
    try:
        return schemaless_reader(BytesIO(body), _SCHEMA, None)["catalog_info"]  # type: ignore[index, call-overload]
    except Exception as error:  # the reader raises what its bytes happen to cause
        message = f"not Avro of this type: {type(error).__name__} {error}"
        raise MalformedEvent(message) from error
