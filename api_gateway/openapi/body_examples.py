"""Examples of pages and of other bodies, made from the examples of whole objects."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from api_gateway.http.problems import Problem
from api_gateway.openapi.examples import COURSE_ID, EXAMPLE_FACTS, EXAMPLES

_SUBMISSION: Any = EXAMPLES["Submission"]
_EVENT: Any = EXAMPLES["Event"]
_ENROLLMENT: Any = EXAMPLES["Enrollment"]
_LEARNER: Any = EXAMPLES["Learner"]
_COURSE: Any = EXAMPLES["Course"]
_FINDINGS: Any = EXAMPLE_FACTS["errors"]
_ROW = {
    **{name: _ENROLLMENT[name] for name in ("created", "mode", "is_active", "user")},
    "course_id": COURSE_ID,
}
_NUMBERS = {
    "count": 1,
    "num_pages": 1,
    "current_page": 1,
    "start": 0,
    "next": None,
    "previous": None,
}
WEBHOOK_EXAMPLE = {
    "url": "https://lms.example.org/hooks/enrollments",
    "types": ["enrollment.created", "enrollment.deactivated"],
    "courses": ["DemoX+*"],
}
_DIFFERENCE = {
    "number": 1,
    "difference": "missing_there",
    "user": "ada",
    "course_id": COURSE_ID,
    "mode_here": "audit",
    "is_active_here": True,
    "mode_there": None,
    "is_active_there": None,
    "queued": False,
}
_REPORT_ID = "0199f2c4-7d1e-7c55-8a36-3d8f0c2b9e11"
_REPORT = {
    "id": _REPORT_ID,
    "destination": "lms",
    "kind": "reconcile",
    "applied": False,
    "state": "done",
    "error": None,
    "created": "2026-09-01T08:00:00Z",
    "started_at": "2026-09-01T08:00:01Z",
    "finished_at": "2026-09-01T08:00:09Z",
    "counts": {"here": 42_665, "there": 42_664, "differences": 1, "missing_there": 1},
    "links": {"self": f"/api/enrollment/v1/destinations/lms/reports/{_REPORT_ID}"},
    "differences": [_DIFFERENCE],
    "next": None,
}
_WEBHOOK = {
    "id": "019a1e9c-7c11-7c2f-9d5e-2b1f6f3f7a11",
    "description": None,
    "callers": [],
    "enabled": True,
    "disabled_reason": None,
    "disabled_at": None,
    "failures": 0,
    "created": "2026-09-01T12:00:00Z",
    "created_by": "key:admin",
    "previous_secret_until": None,
    **WEBHOOK_EXAMPLE,
}
_DELIVERY = {
    "id": 1,
    "message_id": "1f0c2f6e-0b2f-5f43-9d4c-5b7f3c7a9b10",
    "type": "enrollment.created",
    "position": 1,
    "state": "pending",
    "attempts": 1,
    "created": "2026-09-01T12:00:00Z",
    "next_attempt_at": "2026-09-01T12:00:06Z",
    "attempted_at": "2026-09-01T12:00:01Z",
    "status": 503,
    "answer": "Service Unavailable",
    "error": "refused",
}
DESTINATION_EXAMPLE = {
    "kind": "openedx",
    "url": "https://lms.example.org",
    "auth": {"client_id": "enrollments", "client_secret": "hidden"},
    "courses": ["DemoX+*"],
    "concurrency": 4,
    "requests_per_second": 10,
}
_DESTINATION = {
    **{name: value for name, value in DESTINATION_EXAMPLE.items() if name != "auth"},
    "name": "lms",
    "paused": False,
    "pull_courses_every": None,
    "failures": 0,
    "rests_until": None,
    "created": "2026-09-01T12:00:00Z",
}
_STATE_DELIVERY = {
    "id": 1,
    "user": "ada",
    "course_id": COURSE_ID,
    "position": 7,
    "arrived_position": 3,
    "state": "failed",
    "forced": False,
    "attempts": 1,
    "created": "2026-09-01T12:00:00Z",
    "next_attempt_at": None,
    "attempted_at": "2026-09-01T12:00:01Z",
    "status": 400,
    "answer": "No such mode.",
    "error": "refused",
}

#: Examples by name of the component.
BODY_EXAMPLES: Mapping[str, Any] = {
    "Attribute": {"namespace": "credit", "name": "provider_id", "value": "Uni"},
    "CourseMode": {"slug": "verified", "name": "Verified", "min_price": 49},
    "CourseMembers": {"capacity": 150},
    "LearnerMembers": {name: value for name, value in _LEARNER.items() if name != "username"},
    "Problem": Problem(
        HTTPStatus.BAD_REQUEST,
        "invalid_body",
        "is_active: 'perhaps' is neither true nor false: write true or false.",
        errors=_FINDINGS,
    ).body(),
    "FieldError": {"developer_message": "Value 'x' is not valid for field 'course_id'."},
    "CoursePage": {"courses": [EXAMPLES["KeptCourse"]], "next": None},
    "PatchedCourses": {
        "saved": 2,
        "created": [],
        "changed": [
            {"course_id": COURSE_ID, "before": {"capacity": 120}, "after": {"capacity": 150}}
        ],
        "unchanged": 1,
    },
    "EnrollmentPage": {"next": None, "previous": None, "results": [_ROW]},
    "LearnerPage": {**_NUMBERS, "results": [_ENROLLMENT]},
    "AllPage": {**_NUMBERS, "results": [_ROW]},
    "OutcomePage": {"outcomes": [EXAMPLES["Outcome"]], "next": None},
    "Options": {"on_error": "continue", "source": "canvas"},
    "ArchiveFile": {"name": "enrollments.csv", "format": "oneroster", "rows": 2, "source": None},
    "SubmissionPage": {"submissions": [_SUBMISSION], "next": None},
    "Changes": {"changes": [_EVENT], "next": 1},
    "History": {"events": [_EVENT]},
    "RelayLag": {"channel": "event_stream", "lag_events": 0, "lag_seconds": 0},
    "Crosswalk": {"source": "canvas", "entries": [EXAMPLES["CrosswalkEntry"]], "next": None},
    "NewWebhook": WEBHOOK_EXAMPLE,
    "FeedRange": {"first": 1, "last": 1_000},
    "DestinationReport": _REPORT,
    "Webhook": _WEBHOOK,
    "Webhooks": {"webhooks": [_WEBHOOK]},
    "Delivery": _DELIVERY,
    "Deliveries": {"deliveries": [_DELIVERY], "next": None},
    "Queued": {"queued": 12},
    "NewDestination": DESTINATION_EXAMPLE,
    "DestinationAuth": DESTINATION_EXAMPLE["auth"],
    "Destination": _DESTINATION,
    "Destinations": {"destinations": [_DESTINATION]},
    "StateDelivery": _STATE_DELIVERY,
    "Arrival": {
        "destination": "lms",
        "state": "delivered",
        "attempted_at": "2026-09-01T12:00:01Z",
    },
    "DestinationBacklog": {
        "name": "lms",
        "paused": False,
        "pending": 0,
        "oldest_pending": None,
        "failed": 0,
    },
    "StateDeliveries": {"deliveries": [_STATE_DELIVERY], "next": None},
    "Ready": {"status": "ok", "database": "ok", "redis": "ok", "queue": "ok", "findings": []},
    "CourseList": {"courses": [_COURSE]},
    "LearnerList": {"learners": [_LEARNER]},
    "CrosswalkEntryList": {"entries": [EXAMPLES["CrosswalkEntry"]]},
}
