"""Operations on enrollments and their events."""

from api_gateway.http.openedx_body import MULTIPART_FORM, URLENCODED_FORM
from api_gateway.openapi.model import (
    JSON,
    TEXT,
    Operation,
    Response,
    array,
    enumeration,
    json_content,
    ref,
    text,
)

_PRIVATE = "Cache-Control"
_ONE = "{username},{course_id}"
_OWN = "{course_id}"
#: Headers of every response to a stored request.
_STORED_HEADERS = "Location Preference-Applied Idempotency-Replayed"
_HIDDEN = Response("A learner whom the caller may not see. The body is empty.", headers=_PRIVATE)
_ENROLLMENT = Response(
    "The enrollment, active or not. Without one (or without such a learner or course) the body is "
    "empty and there is no Content-Type.",
    json_content("Enrollment"),
    _PRIVATE,
)
_EVENTS = Response(
    "The events of the enrollment; an empty list without one.", json_content("History"), _PRIVATE
)
_FORM = {
    "type": "object",
    "description": "The same as a form; booleans are words, also with a capital letter.",
    "properties": {
        "user": TEXT,
        "email": TEXT,
        "mode": TEXT,
        "is_active": enumeration(["true", "false"]),
        "force_enrollment": enumeration(["true", "false"]),
        "email_opt_in": enumeration(["true", "false"]),
        "cohort": TEXT,
        "enrollment_attributes": text("JSON."),
        "course_details.course_id": TEXT,
        "course_id": TEXT,
        "course_details": text("JSON."),
    },
}


def _detail(id_: str, summary: str, tail: str, response: Response) -> Operation:
    """Returns an operation that reads one enrollment."""
    return Operation(
        "enrollment_detail",
        "GET",
        id_,
        summary,
        tail=tail,
        responses={200: response, 404: _HIDDEN},
        problems="invalid_row",
        problem_headers=_PRIVATE,
    )


OPERATIONS = (
    Operation(
        "enrollment",
        "POST",
        "askEnrollment",
        "Enroll, change or unenroll one learner",
        description=(
            "The request is stored durably and acknowledged with 202 at once; a worker processes "
            "it. With `Prefer: wait=N` the response is the outcome, as an Open edX server would "
            "give it; `code` has the reason of a refusal. Members that are not read are named in "
            "`ignored_fields`; one that looks like a member that is read (`mod`, `status`) is 400, "
            "unless clients of Open edX send it."
        ),
        parameters="Prefer Idempotency-Key",
        body={
            **json_content("EnrollmentRequest"),
            URLENCODED_FORM: _FORM,
            MULTIPART_FORM: _FORM,
        },
        responses={
            200: Response(
                "The enrollment is as requested, or as a later request made it. Only with wait.",
                json_content("Enrollment"),
                _STORED_HEADERS,
            ),
            202: Response(
                "Stored. Poll the URL in `Location` for the outcome.",
                json_content("Submission"),
                f"{_STORED_HEADERS} Retry-After",
            ),
            404: Response("The caller may not act for this learner. The body is empty."),
        },
        problems=(
            "invalid_row invalid_body malformed_json incomplete_body idempotency_key_invalid "
            "course_not_found enrollment_not_open enrollment_closed invite_required invite_used "
            "invite_expired course_full mode_unavailable mode_expired mode_mismatch "
            "attributes_missing cohort_not_found aborted not_permitted learner_not_found "
            "request_timeout cancelled idempotency_key_in_flight too_large unsupported_media_type "
            "idempotency_key_reused"
        ),
        problem_headers=_STORED_HEADERS,
    ),
    Operation(
        "enrollment",
        "GET",
        "listActiveEnrollments",
        "List the active enrollments of one learner",
        parameters="user",
        responses={
            200: Response(
                "Oldest first, not paged; empty if the caller may not see them.",
                {JSON: array(ref("Enrollment"))},
                _PRIVATE,
            )
        },
        problem_headers=_PRIVATE,
    ),
    _detail("getEnrollment", "Get an enrollment of a learner", _ONE, _ENROLLMENT),
    _detail("getOwnEnrollment", "Get an enrollment of the caller", _OWN, _ENROLLMENT),
    _detail("getHistory", "Get enrollment history", f"{_ONE}/history", _EVENTS),
    _detail("getOwnHistory", "Get enrollment history of the caller", f"{_OWN}/history", _EVENTS),
    Operation(
        "enrollments",
        "GET",
        "listEnrollments",
        "List all enrollments, including inactive ones",
        description=(
            "Filters are combined with AND. Unknown values match no rows. Unknown parameters are "
            "ignored, but one that looks like a filter (`user` for `username`) is 400."
        ),
        parameters="one_course course_ids usernames emails cursor page_size same_as_page_size",
        responses={
            200: Response("A page, newest first.", json_content("EnrollmentPage"), _PRIVATE)
        },
        problems="invalid_parameter",
        other_problems={404: "invalid_parameter"},
        problem_headers=_PRIVATE,
    ),
    Operation(
        "changes",
        "GET",
        "listChanges",
        "List events of the change feed",
        description=(
            "Positions start at 1 and have no gaps; no event ever appears before one that was "
            "already read. Continue with `since` set to `next`."
        ),
        parameters="since changes_limit same_as_limit",
        responses={
            200: Response("Events, ordered by position.", json_content("Changes"), _PRIVATE)
        },
        problems="invalid_parameter",
        problem_headers=_PRIVATE,
    ),
)
