"""Operations on submissions: hand many in, follow them, read what became of each."""

from api_gateway.event_stream import EVENTS
from api_gateway.openapi import samples
from api_gateway.openapi.parts import CSV, JSON, NDJSON, Answer, Operation, json, listed, ref

_TAG = "Submissions"
_REQUESTS = listed(ref("EnrollmentRequest"))
_STATUS_HEADERS = ("ETag", "Cache-Control", "Retry-After")

_STREAM = {EVENTS: {"type": "string", "description": "Events named progress and done."}}
_HEARD = Answer(
    "The end was heard already; only where Last-Event-ID says so.",
    headers=("Cache-Control", "Vary"),
)
OPERATIONS = (
    Operation(
        _TAG,
        "submissions",
        "POST",
        "submit",
        "Hand in many requests",
        description=(
            "CSV with the columns user or email, course_id, and any of mode, is_active, "
            "requested_at, enrollment_attributes, cohort, force_enrollment, in any order; other "
            "columns are kept and come back with the outcomes. NDJSON has a request a line. A row "
            "that cannot be read is that row's outcome, never the file's. CSV files of other "
            "systems are taken unchanged, and known by their content: see format. Their ids are "
            "translated by the crosswalk of their source. A ZIP archive holds one or more files "
            "of any of these sorts, read in the order of their names; each has the ids of its own "
            "system unless source says whose they are."
        ),
        parameters=(
            "format",
            "default_mode",
            "on_error",
            "dry_run",
            "lane",
            "of_source",
            "course",
            "Idempotency-Key",
            "Content-Encoding",
        ),
        body={
            CSV: {"type": "string", "examples": [samples.FILE]},
            NDJSON: {"type": "string", "description": "An EnrollmentRequest a line."},
            JSON: {
                "anyOf": [
                    {
                        "type": "object",
                        "properties": {"enrollments": _REQUESTS},
                        "required": ["enrollments"],
                        "additionalProperties": False,
                    },
                    _REQUESTS,
                ]
            },
            "text/plain": {"type": "string", "description": "CSV or NDJSON, whichever it is."},
            "application/zip": {"type": "string", "format": "binary"},
            "multipart/form-data": {
                "type": "object",
                "description": "A browser's upload; options may be fields as well.",
                "properties": {"file": {"type": "string", "format": "binary"}},
                "required": ["file"],
            },
        },
        answers={
            202: Answer(
                "Kept durably, whole; how far it is is found at Location.",
                json("Submission"),
                ("Location", "Idempotency-Replayed", *_STATUS_HEADERS),
            )
        },
        problems={
            400: (
                "option_invalid idempotency_key_invalid incomplete_upload malformed_json "
                "malformed_gzip malformed_zip malformed_form not_text unclosed_quotes"
            ),
            408: "request_timeout",
            409: "idempotency_key_in_flight",
            413: "too_large",
            415: "unsupported_media_type",
            422: (
                "unknown_columns repeated_columns course_missing course_twice unknown_document "
                "empty idempotency_key_reused"
            ),
        },
    ),
    Operation(
        _TAG,
        "submissions",
        "GET",
        "listSubmissions",
        "The caller's submissions",
        parameters=("state", "limit", "cursor"),
        answers={200: Answer("A page, newest first.", json("SubmissionPage"), ("Cache-Control",))},
        problems={400: "option_invalid invalid_parameter"},
        problem_headers=("Cache-Control",),
    ),
    Operation(
        _TAG,
        "submission",
        "GET",
        "getSubmission",
        "How far a submission is",
        description=(
            "With `Prefer: wait=N` the answer waits: with If-None-Match until the ETag differs, "
            "else until all is done. With `Accept: text/event-stream` it is what `/events` gives."
        ),
        parameters=("Prefer", "If-None-Match", "Last-Event-ID"),
        answers={
            200: Answer(
                "The submission as it is now.",
                {**json("Submission"), **_STREAM},
                ("Preference-Applied", "Vary", "X-Accel-Buffering", *_STATUS_HEADERS),
            ),
            204: _HEARD,
            304: Answer(
                "Nothing has moved.", headers=("Preference-Applied", "Vary", *_STATUS_HEADERS)
            ),
        },
        problems={404: "not_found"},
        problem_headers=("Vary", "Cache-Control"),
    ),
    Operation(
        _TAG,
        "submission_events",
        "GET",
        "followSubmission",
        "Every move of a submission, until it is finished",
        description=(
            "Server-sent events. Each has the submission as it is then for its data, and an id; "
            "those before the end are called `progress`, the last one is `done` (its state says "
            "whether it was cancelled). Where it moves often, moves are left out, never the last. "
            "A comment every 15 seconds shows that both sides are still there. Within 5 seconds of "
            "the end of the caller's key or token the stream ends too, without `done`."
        ),
        parameters=("Last-Event-ID",),
        answers={
            200: Answer("The events.", _STREAM, ("Cache-Control", "X-Accel-Buffering")),
            204: _HEARD,
        },
        problems={404: "not_found"},
        problem_headers=("Cache-Control",),
    ),
    Operation(
        _TAG,
        "submission_outcomes",
        "GET",
        "listOutcomes",
        "What became of every request",
        description=(
            "JSON comes in pages, as far as there are outcomes; NDJSON and CSV are streamed whole, "
            "once the submission is finished. CSV gives the columns of the file that was sent, "
            "then outcome, reason and message, so that refused rows can be mended and sent again."
        ),
        parameters=("outcome", "reason", "file", "limit", "cursor"),
        answers={
            200: Answer(
                "Outcomes, in the order of the input.",
                {
                    JSON: ref("OutcomePage"),
                    NDJSON: {"type": "string", "description": "An Outcome a line."},
                    CSV: {"type": "string"},
                },
                ("Vary", "Content-Disposition"),
            )
        },
        problems={
            400: "option_invalid invalid_parameter",
            404: "not_found",
            409: "submission_not_finished",
        },
        problem_headers=("Vary", "Retry-After"),
    ),
    Operation(
        _TAG,
        "submission_cancel",
        "POST",
        "cancelSubmission",
        "Cancel what is left of a submission",
        description="The batch in work is finished and stays; the rest gets the outcome cancelled.",
        answers={
            202: Answer("The wish was noted.", json("Submission"), ("Location", *_STATUS_HEADERS))
        },
        problems={404: "not_found", 409: "submission_finished"},
    ),
)
