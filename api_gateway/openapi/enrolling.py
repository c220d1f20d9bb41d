"""Operations on enrollments: ask for one, read one, read all."""

from api_gateway.forms import FORM
from api_gateway.openapi.parts import TEXT, Answer, Operation, json, listed, one_of, ref

_TAG = "Enrollments"
_ONE = "{username},{course_id}"
_KEPT = ("Cache-Control",)
_NOBODY = Answer("Somebody else, whom the caller may not see. The body is empty.", headers=_KEPT)
_NOTHING = (
    "The enrollment, active or not. Where there is none (or no such learner or course) the body "
    "is empty and has no Content-Type."
)
#: Where the request was taken in, and how it was answered.
_FOUND = ("Location", "Preference-Applied", "Idempotency-Replayed")
_EVENTS = Answer(
    "What happened to the enrollment; an empty list where there is none.", json("History"), _KEPT
)

_FORM = {
    "type": "object",
    "description": "The same as a form, where true and false are words.",
    "properties": {
        "user": TEXT,
        "email": TEXT,
        "mode": TEXT,
        "is_active": one_of(["true", "True", "false", "False"]),
        "course_details.course_id": TEXT,
        "course_id": TEXT,
        "course_details": {**TEXT, "description": "JSON."},
    },
}

OPERATIONS = (
    Operation(
        _TAG,
        "enrollment",
        "POST",
        "askEnrollment",
        "Enroll, change or withdraw one learner",
        description=(
            "The request is kept durably and answered 202 at once; a worker judges it. With "
            "`Prefer: wait=N` the answer is the outcome, as an Open edX server would give it. "
            "Who is refused after a wait finds the reason in `code`."
        ),
        parameters=("Prefer", "Idempotency-Key"),
        body={**json("EnrollmentRequest"), FORM: _FORM},
        answers={
            200: Answer(
                "It is as was asked (or as somebody asked later). Only after a wait.",
                json("Enrollment"),
                _FOUND,
            ),
            202: Answer(
                "Accepted and kept; the outcome is found at Location.",
                json("Submission"),
                (*_FOUND, "Retry-After"),
            ),
            404: Answer("The caller may not act for this learner. The body is empty."),
        },
        problems={
            400: (
                "invalid_row malformed_json incomplete_body idempotency_key_invalid "
                "course_not_found enrollment_not_open enrollment_closed invite_required "
                "invite_used invite_expired course_full mode_unavailable mode_expired "
                "mode_mismatch attributes_missing cohort_not_found aborted"
            ),
            403: "not_permitted",
            406: "learner_not_found",
            408: "request_timeout",
            409: "cancelled idempotency_key_in_flight",
            413: "too_large",
            415: "unsupported_media_type",
            422: "idempotency_key_reused",
        },
        problem_headers=_FOUND,
    ),
    Operation(
        _TAG,
        "enrollment",
        "GET",
        "listActiveEnrollments",
        "The active enrollments of one learner",
        parameters=("user",),
        answers={
            200: Answer(
                "Oldest first, not paged; empty where the caller may not see them.",
                {"application/json": listed(ref("Enrollment"))},
                _KEPT,
            )
        },
        problem_headers=_KEPT,
    ),
    Operation(
        _TAG,
        "enrollment_detail",
        "GET",
        "getEnrollment",
        "One enrollment of a learner",
        tail=_ONE,
        answers={200: Answer(_NOTHING, json("Enrollment"), _KEPT), 404: _NOBODY},
        problems={400: "invalid_row"},
        problem_headers=_KEPT,
    ),
    Operation(
        _TAG,
        "enrollment_detail",
        "GET",
        "getOwnEnrollment",
        "One enrollment of the caller",
        tail="{course_id}",
        answers={200: Answer(_NOTHING, json("Enrollment"), _KEPT), 404: _NOBODY},
        problems={400: "invalid_row"},
        problem_headers=_KEPT,
    ),
    Operation(
        _TAG,
        "enrollment_detail",
        "GET",
        "getHistory",
        "How an enrollment of a learner came to what it is",
        tail=_ONE + "/history",
        answers={200: _EVENTS, 404: _NOBODY},
        problems={400: "invalid_row"},
        problem_headers=_KEPT,
    ),
    Operation(
        _TAG,
        "enrollment_detail",
        "GET",
        "getOwnHistory",
        "How an enrollment of the caller came to what it is",
        tail="{course_id}/history",
        answers={200: _EVENTS, 404: _NOBODY},
        problems={400: "invalid_row"},
        problem_headers=_KEPT,
    ),
    Operation(
        _TAG,
        "enrollments",
        "GET",
        "listEnrollments",
        "All enrollments, inactive ones too",
        description="Every filter that is given must hold. Values that nobody has give no rows.",
        parameters=("one_course", "course_ids", "usernames", "emails", "cursor", "page_size"),
        answers={200: Answer("A page, newest first.", json("EnrollmentPage"), _KEPT)},
        problems={400: "invalid_parameter", 404: "invalid_parameter"},
        problem_headers=_KEPT,
    ),
    Operation(
        "Courses",
        "course_details",
        "GET",
        "getCourseDetails",
        "What a course offers",
        parameters=("include_expired", "If-None-Match"),
        answers={
            200: Answer(
                "The course as it is now.", json("CourseDetails"), ("ETag", "Cache-Control", "Vary")
            ),
            304: Answer("It has not changed.", headers=("ETag", "Cache-Control", "Vary")),
        },
        problems={400: "course_not_found"},
    ),
    Operation(
        _TAG,
        "changes",
        "GET",
        "listChanges",
        "The feed of events",
        description=(
            "Positions begin at 1 and have no gaps; an event that was passed over never turns up "
            "later. Ask again with `since` set to `next`."
        ),
        parameters=("since", "changes_limit"),
        answers={200: Answer("Events, in the order of the feed.", json("Changes"), _KEPT)},
        problems={400: "invalid_parameter"},
        problem_headers=_KEPT,
    ),
)
