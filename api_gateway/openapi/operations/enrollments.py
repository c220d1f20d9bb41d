"""Operations on enrollments and their events."""

import json

from api_gateway.feed.change_filter import EVENT_TYPES
from api_gateway.http.openedx_body import MULTIPART_FORM, URLENCODED_FORM
from api_gateway.openapi.examples import COURSE_ID, EXAMPLES
from api_gateway.openapi.model import (
    JSON,
    Operation,
    Response,
    array,
    enumeration,
    json_content,
    ref,
    text,
)
from api_gateway.status.event_stream import EVENT_STREAM_TYPE

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
#: As for the progress of submissions: the schema of each event, or all of them as a string.
_CHANGE_STREAM = {
    "anyOf": [
        {
            "title": "ChangeEvent",
            "type": "object",
            "description": "One event of the stream.",
            "properties": {
                "event": enumeration(EVENT_TYPES),
                "id": text("The position, which Last-Event-ID takes.", examples=["1"]),
                "data": {
                    **text("An Event as JSON.", examples=[json.dumps(EXAMPLES["Event"])]),
                    "contentMediaType": JSON,
                    "contentSchema": ref("Event"),
                },
            },
            "required": ["event", "id", "data"],
        },
        text("All events."),
    ]
}
_STATE = "The state, also of an inactive enrollment, with the details of its course."
_PAST = "Every change, oldest first: when, by whom, by which submission and line, before and after."
_FORM = {
    "title": "EnrollmentForm",
    "type": "object",
    "description": "The same as a form; booleans are words, also with a capital letter.",
    "properties": {
        "user": text(examples=["ada"]),
        "email": text(examples=["ada@example.org"]),
        "mode": text(examples=["verified"]),
        "is_active": enumeration(["true", "false"]),
        "force_enrollment": enumeration(["true", "false"]),
        "email_opt_in": enumeration(["true", "false"]),
        "cohort": text(examples=["Group A"]),
        "enrollment_attributes": text("JSON.", examples=["[]"]),
        "course_details.course_id": text(examples=[COURSE_ID]),
        "course_id": text(examples=[COURSE_ID]),
        "course_details": text("JSON.", examples=[json.dumps({"course_id": COURSE_ID})]),
    },
    "examples": [
        {"user": "ada", "course_details.course_id": COURSE_ID, "mode": "verified"},
    ],
}


def _detail(id_: str, summary: str, tail: str) -> Operation:
    """Returns an operation that reads one enrollment."""
    return Operation(
        "enrollment_detail",
        "GET",
        id_,
        summary,
        description=_STATE,
        tail=tail,
        responses={200: _ENROLLMENT, 404: _HIDDEN},
        problems="invalid_row",
        problem_headers=_PRIVATE,
    )


def _history(id_: str, summary: str, tail: str) -> Operation:
    """Returns an operation that reads the history of one enrollment."""
    return Operation(
        "enrollment_detail",
        "GET",
        id_,
        summary,
        description=_PAST,
        tail=f"{tail}/history",
        responses={200: _EVENTS},
        problems="invalid_course_id not_found",
        problem_headers=_PRIVATE,
        is_ours=True,
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
        description="Without user, those of the caller.",
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
    _detail("getEnrollment", "Get an enrollment of a learner", _ONE),
    _detail("getOwnEnrollment", "Get an enrollment of the caller", _OWN),
    _history("getHistory", "Get enrollment history", _ONE),
    _history("getOwnHistory", "Get enrollment history of the caller", _OWN),
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
            "already read. Continue with `since` set to `next`, also where a filter left nothing "
            "of a page; at the end of the feed both are equal. With `Accept: text/event-stream` "
            "the events are streamed as they happen (server-sent events): `id` is the position, "
            "`event` the type, `data` the event. A stream starts after `Last-Event-ID`, otherwise "
            "after `since`; `limit` does not count. A block with an id but no data, every 15 "
            "seconds at least, tells how far the feed was read. A stream has no end of its own: "
            "it ends at a shutdown, and within 5 seconds after the caller's key or token expires."
        ),
        parameters=(
            "since changes_limit same_as_limit event_types changed_courses changed_learners "
            "Last-Event-ID"
        ),
        responses={
            200: Response(
                "Events, ordered by position.",
                {**json_content("Changes"), EVENT_STREAM_TYPE: _CHANGE_STREAM},
                f"{_PRIVATE} Vary X-Accel-Buffering",
            )
        },
        problems="invalid_parameter quota_exceeded",
        problem_headers=f"{_PRIVATE} Vary",
    ),
)
