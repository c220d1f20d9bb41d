"""Upstream's bulk enrollment: its operation, and the shape of its answer."""

from collections.abc import Mapping
from typing import Any

from api_gateway.forms import FORM
from api_gateway.openapi import samples
from api_gateway.openapi.parts import (
    FLAG,
    JSON,
    TEXT,
    Answer,
    Operation,
    json,
    listed,
    one_of,
    or_null,
    record,
    ref,
)
from enrollment.domain.codes import Code, Reason
from schemas.bulk_enroll import ENROLL, UNENROLL

_TAG = "Submissions"
_FOUND = ("Location", "Preference-Applied", "Idempotency-Replayed", "Cache-Control")

_WORDS = {
    "anyOf": [TEXT, listed(TEXT)],
    "description": "A comma list, or a list of such.",
}
_BULK_ENROLL = {
    "type": "object",
    "properties": {
        "action": one_of([ENROLL, UNENROLL]),
        "identifiers": {
            **TEXT,
            "description": "Usernames and e-mails; commas, blanks and line ends part them.",
        },
        "courses": _WORDS,
        "cohorts": {**_WORDS, "description": "One for each course."},
        "auto_enroll": {**FLAG, "description": "What invitations say."},
        "email_students": {**FLAG, "description": "Given back; no mail is sent from here."},
        "reason": {**TEXT, "description": "Kept with the submission."},
    },
    "required": ["action", "identifiers", "courses"],
    "examples": [samples.BULK_ENROLL],
}

SHAPES: Mapping[str, Mapping[str, Any]] = {
    "BulkEnrollState": record(
        "How a learner and a course stood at a moment.",
        {
            "user": {**FLAG, "description": "Somebody here has this name or e-mail."},
            "enrollment": {**FLAG, "description": "There is an active enrollment."},
            "allowed": {**FLAG, "description": "There is an invitation."},
            "auto_enroll": {**FLAG, "description": "And it enrolls by itself."},
            "cohort": or_null(TEXT),
        },
        optional=("cohort",),
    ),
    "BulkEnrollResult": record(
        "What became of one identifier in one course.",
        {
            "identifier": TEXT,
            "before": ref("BulkEnrollState"),
            "after": ref("BulkEnrollState"),
            "invalidIdentifier": {"const": True, "description": "It names nobody."},
            "error": {"const": True, "description": "It was refused; reason says why."},
            "reason": one_of([*Reason, Code.CANCELLED.value]),
            "message": TEXT,
        },
        optional=("before", "after", "invalidIdentifier", "error", "reason", "message"),
    ),
    "BulkEnrollCourse": record(
        "What became of every identifier in one course.",
        {
            "action": one_of([ENROLL, UNENROLL]),
            "auto_enroll": FLAG,
            "results": listed(ref("BulkEnrollResult")),
        },
    ),
    "BulkEnrollAnswer": record(
        "What became of every identifier in every course, in the order of the request.",
        {
            "action": one_of([ENROLL, UNENROLL]),
            "auto_enroll": FLAG,
            "email_students": FLAG,
            "courses": {
                "type": "object",
                "description": "By course id.",
                "additionalProperties": ref("BulkEnrollCourse"),
            },
        },
        example=samples.BULK_ENROLL_ANSWER,
    ),
}

OPERATIONS = (
    Operation(
        _TAG,
        "bulk_enroll",
        "POST",
        "bulkEnroll",
        "Enroll or unenroll a list of learners, in upstream's form",
        description=(
            "Every identifier is enrolled into, or out of, every course; windows and invitations "
            "are passed, seats never. An e-mail that nobody here has becomes an invitation. The "
            "list is a submission in the interactive lane, and its outcome is waited for: 20 "
            "seconds, or as long as `Prefer: wait=N` says. After that the answer is 202, and the "
            "outcomes are those of the submission."
        ),
        parameters=("Prefer", "Idempotency-Key"),
        body={JSON: _BULK_ENROLL, FORM: _BULK_ENROLL},
        answers={
            200: Answer(
                "What became of each.",
                json("BulkEnrollAnswer"),
                _FOUND,
            ),
            202: Answer(
                "Kept durably, and not all done yet.",
                json("Submission"),
                (*_FOUND, "ETag", "Retry-After"),
            ),
        },
        problems={
            400: "invalid_body malformed_json incomplete_body idempotency_key_invalid",
            408: "request_timeout",
            409: "idempotency_key_in_flight",
            413: "too_large",
            415: "unsupported_media_type",
            422: "idempotency_key_reused",
        },
        problem_headers=("Cache-Control",),
    ),
)
