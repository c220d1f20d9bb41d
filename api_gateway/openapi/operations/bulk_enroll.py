"""The operation of the bulk enrollment API of Open edX."""

from api_gateway.http.openedx_body import MULTIPART_FORM, URLENCODED_FORM
from api_gateway.openapi.examples import BULK_ENROLL_EXAMPLE
from api_gateway.openapi.model import (
    BOOLEAN,
    JSON,
    TEXT,
    Operation,
    Response,
    array,
    enumeration,
    json_content,
    text,
)
from schemas.openedx_bulk_enroll import ENROLL, UNENROLL

_STORED_HEADERS = "Location Preference-Applied Idempotency-Replayed Cache-Control"
_TEXT_LIST = {"anyOf": [TEXT, array(TEXT)], "description": "A comma-separated list, or several."}
_BODY = {
    "type": "object",
    "properties": {
        "action": enumeration([ENROLL, UNENROLL]),
        "identifiers": text("Usernames and e-mails, separated by commas or white space."),
        "courses": _TEXT_LIST,
        "cohorts": {**_TEXT_LIST, "description": "One for each course."},
        "auto_enroll": {**BOOLEAN, "description": "Whether invitations enroll automatically."},
        "email_students": {**BOOLEAN, "description": "Returned unchanged; no mail is sent."},
        "reason": text("Stored with the submission."),
    },
    "required": ["action", "identifiers", "courses"],
    "examples": [BULK_ENROLL_EXAMPLE],
}

OPERATIONS = (
    Operation(
        "bulk_enroll",
        "POST",
        "bulkEnroll",
        "Enroll or unenroll a list of learners in the form of Open edX",
        description=(
            "Every identifier is enrolled in, or unenrolled from, every course, regardless of "
            "enrollment periods and invitations, but not of capacity. An e-mail of no known "
            "learner becomes an invitation. The list is a submission in the interactive lane. The "
            "response waits for it: 20 seconds, or as long as `Prefer: wait=N` says. After that "
            "it is 202, and the outcomes are those of the submission."
        ),
        parameters="Prefer Idempotency-Key",
        body={JSON: _BODY, URLENCODED_FORM: _BODY, MULTIPART_FORM: _BODY},
        responses={
            200: Response(
                "The result for each identifier.", json_content("BulkEnrollAnswer"), _STORED_HEADERS
            ),
            202: Response(
                "Stored durably, but not finished.",
                json_content("Submission"),
                f"{_STORED_HEADERS} ETag Retry-After",
            ),
        },
        problems=(
            "invalid_body malformed_json incomplete_body idempotency_key_invalid request_timeout "
            "idempotency_key_in_flight too_large unsupported_media_type idempotency_key_reused"
        ),
        problem_headers="Cache-Control",
    ),
)
