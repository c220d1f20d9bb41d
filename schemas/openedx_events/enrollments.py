"""Renders enrollment events for the event bus of Open edX.

The body is schemaless Avro, as the library `openedx-events` writes and reads it: records are their
fields one after the other, a time and a course key are strings. A consumer drops what it cannot
read, so every value here has the form that it parses: times end in `+00:00`, because Python 3.10
and older do not parse `Z`.
"""

from datetime import UTC, datetime
from io import BytesIO
from typing import Any, NamedTuple

from fastavro import parse_schema, schemaless_writer

from enrollment.domain.codes import ChangeKind
from enrollment.domain.events import RecordedEvent
from schemas.events import public_event_id
from schemas.openedx_events.avro import record

CREATED = "org.openedx.learning.course.enrollment.created.v1"
CHANGED = "org.openedx.learning.course.enrollment.changed.v1"
UNENROLLMENT_COMPLETED = "org.openedx.learning.course.unenrollment.completed.v1"

#: The release of `openedx-events` whose form the messages have.
SOURCE_LIB = "11.2.0"


_PII = record("UserPersonalData", username="string", email="string", name="string")
_USER = record("UserData", id="long", is_active="boolean", pii=_PII)
_COURSE = record(
    "CourseData",
    course_key="string",
    display_name="string",
    start=["null", "string"],
    end=["null", "string"],
)
_ENROLLMENT = record(
    "CourseEnrollmentData",
    user=_USER,
    course=_COURSE,
    mode="string",
    is_active="boolean",
    creation_date="string",
    created_by=["null", "UserData"],
)
_SCHEMA: Any = parse_schema(record("CloudEvent", enrollment=_ENROLLMENT))


class EnrollmentSubject(NamedTuple):
    """The learner, the course and the enrollment of an event, as they are when it is published."""

    learner_id: int
    email: str | None
    is_active: bool
    course_name: str
    course_start: datetime | None
    course_end: datetime | None
    #: When the enrollment was created.
    created: datetime


def event_type(event: RecordedEvent) -> str:
    """Returns the type of an event on the bus; each change is one event.

    A withdrawal without a record makes an inactive enrollment. That is a change: consumers take
    `completed` for the end of an enrollment.
    """
    if event.kind is ChangeKind.CREATED:
        return CREATED
    is_end = event.kind is ChangeKind.DEACTIVATED and event.before is not None
    return UNENROLLMENT_COMPLETED if is_end else CHANGED


def dump_fields(
    event: RecordedEvent, subject: EnrollmentSubject, *, source: str, host: str
) -> dict[str, str | bytes]:
    """Returns the fields of an event's entry on a stream."""
    return {
        "type": event_type(event),
        "id": str(public_event_id(event)),
        "source": source,
        "time": _timestamp(event.at),
        "minorversion": "0",
        "sourcehost": host,
        "sourcelib": SOURCE_LIB,
        "event_data": _body(event, subject),
    }


def _body(event: RecordedEvent, subject: EnrollmentSubject) -> bytes:
    # Learners have no names here.
    pii = {"username": event.username, "email": subject.email or "", "name": ""}
    enrollment = {
        "user": {"id": subject.learner_id, "is_active": subject.is_active, "pii": pii},
        "course": {
            "course_key": event.course_id,
            "display_name": subject.course_name,
            "start": subject.course_start and _timestamp(subject.course_start),
            "end": subject.course_end and _timestamp(subject.course_end),
        },
        "mode": event.after["mode"],
        "is_active": event.after["is_active"],
        "creation_date": _timestamp(subject.created),
        "created_by": None,
    }
    body = BytesIO()
    schemaless_writer(body, _SCHEMA, {"enrollment": enrollment})
    return body.getvalue()


def _timestamp(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat()
