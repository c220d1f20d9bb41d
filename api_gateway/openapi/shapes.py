"""The shapes of answers, one beside each function of ``schemas`` that writes them."""

from collections.abc import Mapping
from typing import Any

from api_gateway.openapi import mapping, samples
from api_gateway.openapi.parts import (
    FLAG,
    MOMENT,
    TEXT,
    WHOLE,
    listed,
    one_of,
    or_null,
    record,
    ref,
)
from enrollment.domain.codes import ChangeKind, Code, IdKind, Kind, OnError, Reason, Result, State
from schemas.courses import INSTRUCTOR_PACED, SELF_PACED

_DETAILS = {
    "course_id": TEXT,
    "course_name": TEXT,
    "enrollment_start": or_null(MOMENT),
    "enrollment_end": or_null(MOMENT),
    "course_start": or_null(MOMENT),
    "course_end": or_null(MOMENT),
    "invite_only": FLAG,
    "course_modes": listed(ref("Mode")),
    "pacing_type": one_of([SELF_PACED, INSTRUCTOR_PACED]),
}

#: Facts that an outcome gives beside its reason.
_FACTS = {
    "opens_at": MOMENT,
    "closed_at": MOMENT,
    "expired_at": or_null(MOMENT),
    "capacity": WHOLE,
    "active_mode": TEXT,
    "requested_mode": or_null(TEXT),
    "required": listed(TEXT),
    "cohort": TEXT,
    "errors": listed(ref("Finding")),
}

_PROBLEM = record(
    "What went wrong (RFC 9457).",
    {
        "type": {"type": "string", "format": "uri-reference"},
        "title": TEXT,
        "status": {"type": "integer"},
        "detail": TEXT,
        "code": {"type": "string", "description": "Stable: see /docs/reasons."},
        "message": {"type": "string", "description": "The same as detail."},
        "errors": listed(ref("Finding")),
        "outcome": ref("Outcome"),
        "course_details": ref("CourseDetails"),
        "developer_message": TEXT,
        "field_errors": {"type": "object"},
        "correlation_id": {"type": "string", "description": "The log knows more under it."},
    },
    optional=(
        "errors",
        "outcome",
        "course_details",
        "developer_message",
        "field_errors",
        "correlation_id",
    ),
)

_SUBMISSION = record(
    "A submission: one request or a million, and how far they are.",
    {
        "submission_id": {"type": "string", "format": "uuid"},
        "kind": one_of([*Kind]),
        "state": {**one_of([*State]), "description": "Never goes back."},
        "result": {
            **or_null(one_of([*Result])),
            "description": (
                "succeeded: nothing refused, invalid or cancelled; failed: nothing else; "
                "partial: some of each; null until it is finished."
            ),
        },
        "format": or_null(TEXT),
        "columns": mapping.TAKEN_FOR,
        "files": listed(ref("ArchiveFile")),
        "options": ref("Options"),
        "caller": TEXT,
        "counts": ref("Counts"),
        "reasons": {
            "type": "object",
            "description": "How many outcomes have each reason.",
            "propertyNames": one_of([*Reason]),
            "additionalProperties": WHOLE,
        },
        "progress": {"type": "number", "minimum": 0, "maximum": 1},
        "rows_per_second": or_null(WHOLE),
        "eta_seconds": or_null(WHOLE),
        "received_at": MOMENT,
        "started_at": or_null(MOMENT),
        "finished_at": or_null(MOMENT),
        "links": record(
            "Where more is.", dict.fromkeys(("self", "outcomes", "events", "cancel"), TEXT)
        ),
        "outcome": ref("Outcome"),
        "enrollment": or_null(ref("Enrollment")),
    },
    optional=("columns", "files", "outcome", "enrollment"),
    example=samples.SUBMISSION,
)

SHAPES: Mapping[str, Mapping[str, Any]] = {
    **mapping.SHAPES,
    "Problem": _PROBLEM | {"additionalProperties": True},
    "Finding": record(
        "One thing that is wrong, and where.",
        {
            "pointer": {"type": "string", "description": "JSON pointer into the body."},
            "line": {"type": "integer", "minimum": 1},
            "column": {"type": "integer", "minimum": 0},
            "offset": WHOLE,
            "field": TEXT,
            "kind": {**one_of([*IdKind]), "description": "What the id is of that is not mapped."},
            "value": {},
            "rule": {"type": "string", "description": "One word that says what is broken."},
            "expected": TEXT,
            "message": TEXT,
        },
        optional=(
            "pointer",
            "line",
            "column",
            "offset",
            "field",
            "kind",
            "value",
            "expected",
            "message",
        ),
    ),
    "Mode": record(
        "One way to take a course.",
        {
            "slug": TEXT,
            "name": TEXT,
            "min_price": WHOLE,
            "suggested_prices": TEXT,
            "currency": TEXT,
            "expiration_datetime": or_null(MOMENT),
            "description": or_null(TEXT),
            "sku": or_null(TEXT),
            "bulk_sku": or_null(TEXT),
        },
    ),
    "CourseDetails": record(
        "What a course offers, in upstream's form.", _DETAILS, example=samples.DETAILS
    ),
    "KeptCourse": record(
        "A course as it is kept; can be sent back as it is.",
        {**_DETAILS, "capacity": or_null(WHOLE), "cohorts": listed(TEXT), "seats_taken": WHOLE},
        example=samples.COURSE,
    ),
    "CoursePage": record(
        "Some courses, in the order of their ids.",
        {"courses": listed(ref("KeptCourse")), "next": or_null(TEXT)},
    ),
    "Saved": record("How many were made or replaced.", {"saved": WHOLE}, example={"saved": 2}),
    "KeptLearner": record(
        "A person who can be enrolled.",
        {"username": TEXT, "email": or_null(TEXT), "is_active": FLAG, "is_staff": FLAG},
        example=samples.LEARNER,
    ),
    "KeptInvitation": record(
        "Leave to enroll in a closed or invite-only course.",
        {
            "course_id": TEXT,
            "email": TEXT,
            "expires_at": or_null(MOMENT),
            "auto_enroll": FLAG,
            "used_by": or_null(TEXT),
        },
        example=samples.INVITATION,
    ),
    "Enrollment": record(
        "The state of one learner in one course.",
        {
            "created": MOMENT,
            "mode": TEXT,
            "is_active": FLAG,
            "course_details": or_null(ref("CourseDetails")),
            "user": TEXT,
        },
        example=samples.ENROLLMENT,
    ),
    "EnrollmentRow": record(
        "The same as a flat row.",
        {"created": MOMENT, "mode": TEXT, "is_active": FLAG, "user": TEXT, "course_id": TEXT},
    ),
    "EnrollmentPage": record(
        "Some enrollments, newest first.",
        {
            "next": or_null({"type": "string", "format": "uri"}),
            "previous": or_null(TEXT),
            "results": listed(ref("EnrollmentRow")),
        },
    ),
    "Outcome": record(
        "The one answer to a request; the facts behind a reason stand beside it.",
        {
            "line": {"type": "integer", "minimum": 1},
            "file": {"type": "string", "description": "Of an archive."},
            "file_line": {"type": "integer", "minimum": 1},
            "user": or_null(TEXT),
            "course_id": or_null(TEXT),
            "outcome": one_of([*Code]),
            "reason": one_of([*Reason]),
            "message": TEXT,
            "mode": or_null(TEXT),
            "is_active": FLAG,
            "before": ref("BulkEnrollState"),
            "after": ref("BulkEnrollState"),
            **_FACTS,
        },
        optional=(
            "file",
            "file_line",
            "reason",
            "message",
            "mode",
            "is_active",
            "before",
            "after",
            *_FACTS,
        ),
        example=samples.OUTCOME,
    ),
    "OutcomePage": record(
        "Some outcomes, in the order of the input; ask again from next until it is null.",
        {"outcomes": listed(ref("Outcome")), "next": or_null(TEXT)},
    ),
    "Counts": record(
        "How many requests there are, have no outcome yet, and came to each outcome.",
        {"total": WHOLE, "pending": WHOLE} | {code.value: WHOLE for code in Code},
    ),
    "Options": record(
        "The options that were given.",
        {
            "default_mode": TEXT,
            "on_error": one_of([*OnError]),
            "source": TEXT,
            "dry_run": FLAG,
            "auto_enroll": {**FLAG, "description": "Of a bulk enrollment in upstream's form."},
            "reason": {**TEXT, "description": "Why, as its caller said."},
            "course_id": TEXT,
        },
        optional=(
            "default_mode",
            "on_error",
            "source",
            "dry_run",
            "auto_enroll",
            "reason",
            "course_id",
        ),
    ),
    "Submission": _SUBMISSION,
    "SubmissionPage": record(
        "Some submissions, newest first.",
        {"submissions": listed(ref("Submission")), "next": or_null(TEXT)},
    ),
    "Standing": record(
        "The state of an enrollment at a moment.",
        {
            "mode": TEXT,
            "is_active": FLAG,
            "attributes": listed(ref("Attribute")),
            "cohort": TEXT,
        },
        optional=("attributes", "cohort"),
    ),
    "Event": record(
        "One change of one enrollment (CloudEvents 1.0).",
        {
            "specversion": {"const": "1.0"},
            "id": {"type": "string", "format": "uuid"},
            "source": TEXT,
            "type": one_of([f"enrollment.{kind.value}" for kind in ChangeKind]),
            "subject": {"type": "string", "description": "course_id/username"},
            "time": MOMENT,
            "datacontenttype": TEXT,
            "data": ref("EventData"),
        },
        example=samples.EVENT,
    ),
    "EventData": record(
        "What changed, and who asked for it.",
        {
            "position": {"type": "integer", "minimum": 1, "description": "Place in the feed."},
            "user": TEXT,
            "course_id": TEXT,
            "before": or_null(ref("Standing")),
            "after": ref("Standing"),
            "submission_id": {"type": "string", "format": "uuid"},
            "line": {"type": "integer", "minimum": 1},
            "caller": TEXT,
            "reason": or_null(TEXT),
        },
    ),
    "Changes": record(
        "Events after a position; next is the position to ask from, since itself at the end.",
        {"changes": listed(ref("Event")), "next": WHOLE},
    ),
    "History": record(
        "Events of one enrollment, oldest first.",
        {
            "events": listed(ref("Event")),
            "truncated": {"const": True, "description": "Older ones stand in the feed alone."},
        },
        optional=("truncated",),
    ),
    "Live": record("The process is there.", {"status": {"const": "ok"}}),
    "Ready": record(
        "What works and what does not.",
        {
            "status": one_of(["ok", "degraded", "unready"]),
            "database": TEXT,
            "redis": one_of(["ok", "away"]),
            "queue": {
                **one_of(["ok", "away"]),
                "description": "What workers listen to: that Redis, or a server of its own.",
            },
            "waiting_batches": WHOLE,
            "parked_batches": WHOLE,
            "findings": listed(TEXT),
        },
        optional=("database", "redis", "queue", "waiting_batches", "parked_batches"),
    ),
}
