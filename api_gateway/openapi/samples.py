"""Examples in the document; they follow one learner through one course."""

from typing import Any

from enrollment.domain.codes import Code

COURSE_ID = "course-v1:Uni+ALG101+2026"
_SUBMISSION_ID = "019a1e9c-7c11-7c2f-9d5e-2b1f6f3f7a10"
_LINK = f"/api/enrollment/v1/submissions/{_SUBMISSION_ID}"

REQUEST: dict[str, Any] = {
    "user": "ada",
    "course_details": {"course_id": COURSE_ID},
    "mode": "verified",
}
FILE = f"user,course_id,mode\nada,{COURSE_ID},verified\nbob,{COURSE_ID},audit\n"
MODE: dict[str, Any] = {
    "slug": "verified",
    "name": "Verified",
    "min_price": 49,
    "suggested_prices": "",
    "currency": "usd",
    "expiration_datetime": "2026-12-01T00:00:00Z",
    "description": None,
    "sku": None,
    "bulk_sku": None,
}
DETAILS: dict[str, Any] = {
    "course_id": COURSE_ID,
    "course_name": "Algebra",
    "enrollment_start": "2026-08-01T00:00:00Z",
    "enrollment_end": "2026-10-01T00:00:00Z",
    "course_start": "2026-09-15T00:00:00Z",
    "course_end": None,
    "invite_only": False,
    "course_modes": [MODE],
    "pacing_type": "Instructor Paced",
}
#: What of a course is worth saying; the rest has defaults.
NEW_COURSE: dict[str, Any] = {
    "course_id": COURSE_ID,
    "course_name": "Algebra",
    "enrollment_end": "2026-10-01T00:00:00Z",
    "course_modes": [{"slug": "audit"}, {"slug": "verified", "min_price": 49}],
    "capacity": 120,
}
COURSE: dict[str, Any] = {**DETAILS, "capacity": 120, "cohorts": ["Tuesday"], "seats_taken": 1}
LEARNER: dict[str, Any] = {
    "username": "ada",
    "email": "ada@example.org",
    "is_active": True,
    "is_staff": False,
}
INVITATION: dict[str, Any] = {
    "course_id": COURSE_ID,
    "email": "ada@example.org",
    "expires_at": "2026-11-01T00:00:00Z",
    "auto_enroll": False,
    "used_by": None,
}
ENROLLMENT: dict[str, Any] = {
    "created": "2026-09-01T12:00:00.250000Z",
    "mode": "verified",
    "is_active": True,
    "course_details": DETAILS,
    "user": "ada",
}
OUTCOME: dict[str, Any] = {
    "line": 3,
    "user": "bob",
    "course_id": COURSE_ID,
    "outcome": "refused",
    "reason": "enrollment_closed",
    "message": "Enrollment closed at 2026-10-01T00:00:00Z.",
    "closed_at": "2026-10-01T00:00:00Z",
}
SUBMISSION: dict[str, Any] = {
    "submission_id": _SUBMISSION_ID,
    "kind": "bulk",
    "state": "done",
    "result": "partial",
    "format": "csv",
    "options": {"on_error": "continue"},
    "caller": "sis-nightly",
    "counts": {"total": 2, "pending": 0}
    | {code.value: 0 for code in Code}
    | {"enrolled": 1, "refused": 1},
    "reasons": {"enrollment_closed": 1},
    "progress": 1.0,
    "rows_per_second": 200,
    "eta_seconds": 0,
    "received_at": "2026-09-01T12:00:00Z",
    "started_at": "2026-09-01T12:00:00.240000Z",
    "finished_at": "2026-09-01T12:00:00.250000Z",
    "links": {
        "self": _LINK,
        "outcomes": f"{_LINK}/outcomes",
        "events": f"{_LINK}/events",
        "cancel": f"{_LINK}/cancel",
    },
}
BULK_ENROLL: dict[str, Any] = {
    "action": "enroll",
    "identifiers": "ada, new@example.org",
    "courses": COURSE_ID,
    "auto_enroll": True,
}
_NOWHERE = {"user": False, "enrollment": False, "allowed": False, "auto_enroll": False}
BULK_ENROLL_ANSWER: dict[str, Any] = {
    "action": "enroll",
    "auto_enroll": True,
    "email_students": False,
    "courses": {
        COURSE_ID: {
            "action": "enroll",
            "auto_enroll": True,
            "results": [
                {
                    "identifier": "ada",
                    "before": {**_NOWHERE, "user": True},
                    "after": {**_NOWHERE, "user": True, "enrollment": True},
                },
                {
                    "identifier": "new@example.org",
                    "before": _NOWHERE,
                    "after": {**_NOWHERE, "allowed": True, "auto_enroll": True},
                },
            ],
        }
    },
}
EVENT: dict[str, Any] = {
    "specversion": "1.0",
    "id": "8d1f6e0e-6f8a-5d0c-8a55-0c3f6c1a2b7e",
    "source": "/api/enrollment/v1",
    "type": "enrollment.created",
    "subject": f"{COURSE_ID}/ada",
    "time": "2026-09-01T12:00:00.250000Z",
    "datacontenttype": "application/json",
    "data": {
        "position": 1,
        "user": "ada",
        "course_id": COURSE_ID,
        "before": None,
        "after": {"mode": "verified", "is_active": True},
        "submission_id": _SUBMISSION_ID,
        "line": 2,
        "caller": "sis-nightly",
        "reason": None,
    },
}

ENTRY = {"kind": "course", "theirs": "MATH-101", "ours": COURSE_ID}
