"""Operations on submissions: upload, status, progress, outcomes, cancellation."""

import json
from collections.abc import Mapping

from api_gateway.openapi.examples import EXAMPLES, FILE_EXAMPLE
from api_gateway.openapi.model import (
    CSV,
    INTEGER,
    JSON,
    NDJSON,
    Operation,
    Response,
    Schema,
    array,
    enumeration,
    json_content,
    object_with,
    ref,
    text,
)
from api_gateway.openapi.operations.lines import OUTCOMES_CSV, csv, ndjson
from api_gateway.status.event_stream import EVENT_STREAM_TYPE

_STATUS_HEADERS = "ETag Cache-Control Retry-After"
_EVENT = {
    "title": "ProgressEvent",
    "type": "object",
    "description": "One event; the last is named done.",
    "properties": {
        "event": enumeration(["progress", "done"]),
        "id": text("What Last-Event-ID takes.", examples=["12"]),
        "retry": {
            **INTEGER,
            "description": "Milliseconds before connecting again.",
            "examples": [2_000],
        },
        "data": {
            **text("A Submission as JSON.", examples=[json.dumps(EXAMPLES["Submission"])]),
            "contentMediaType": JSON,
            "contentSchema": ref("Submission"),
        },
    },
    "required": ["event", "id", "data"],
}
#: OpenAPI 3.1 has one schema for a stream of events, that of each event; generated clients that
#: do not read streams get all of it as a string.
_STREAM: Mapping[str, Schema] = {EVENT_STREAM_TYPE: {"anyOf": [_EVENT, text("All events.")]}}
_FINISHED = Response(
    "The last event was received already; only with Last-Event-ID.", headers="Cache-Control Vary"
)
_FILE = {
    CSV: csv("Columns of ours, or a file of another system.", FILE_EXAMPLE),
    NDJSON: ndjson("EnrollmentRequest"),
    # An array alone is read as well; Python clients cannot tell it from other bodies.
    JSON: object_with("enrollments", array(ref("EnrollmentRequest")), "EnrollmentRequestList"),
    "text/plain": text(
        "CSV or NDJSON; detected. In this example the option course_id names the course.",
        examples=["user,mode\nada,verified\nbob,audit\n"],
    ),
    "application/zip": text(format="binary"),
    "multipart/form-data": {
        "title": "FileUpload",
        "type": "object",
        "description": "An upload from a browser; options may be fields as well.",
        "properties": {"file": text("The file.", format="binary", examples=[FILE_EXAMPLE])},
        "required": ["file"],
    },
}

OPERATIONS = (
    Operation(
        "submissions",
        "POST",
        "submit",
        "Submit many requests",
        description=(
            "CSV has the columns user or email, course_id, and any of mode, is_active, "
            "requested_at, enrollment_attributes, cohort, force_enrollment, email_opt_in, in any "
            "order; other columns are stored, named in ignored_columns, and returned with the "
            "outcomes, but one that looks like a column of ours refuses the file. NDJSON has one "
            "request per line, JSON an array of them, alone or as the member enrollments. "
            "A row that cannot be read is invalid by itself; the others are processed. CSV files "
            "of other systems are accepted unchanged and detected by their content: see format. "
            "Their ids are mapped by the crosswalk of their source. A ZIP archive contains one or "
            "more files of any of these kinds, which are read in the order of their names; each "
            "has the ids of its own system unless source names another."
        ),
        parameters=(
            "format default_mode on_error dry_run lane of_source course ignore Idempotency-Key "
            "Content-Encoding"
        ),
        body=_FILE,
        responses={
            202: Response(
                "Stored durably. Poll the URL in `Location` for progress.",
                json_content("Submission"),
                f"Location Idempotency-Replayed {_STATUS_HEADERS}",
            )
        },
        problems=(
            "option_invalid idempotency_key_invalid incomplete_upload malformed_json "
            "malformed_gzip malformed_zip malformed_form not_text unclosed_quotes request_timeout "
            "idempotency_key_in_flight too_large unsupported_media_type unknown_columns "
            "repeated_columns unread_columns course_missing course_twice unknown_document empty "
            "idempotency_key_reused quota_exceeded"
        ),
    ),
    Operation(
        "submissions",
        "GET",
        "listSubmissions",
        "List submissions of the caller",
        description="Those of the same key or subject, whatever became of them.",
        parameters="state limit same_as_limit cursor",
        responses={
            200: Response("A page, newest first.", json_content("SubmissionPage"), "Cache-Control")
        },
        problems="option_invalid invalid_parameter",
        problem_headers="Cache-Control",
    ),
    Operation(
        "submission",
        "GET",
        "getSubmission",
        "Get submission status",
        description=(
            "With `Prefer: wait=N` the response is delayed: with If-None-Match until the ETag "
            "changes, otherwise until the submission is finished. With `Accept: "
            "text/event-stream` it is the same as that of `/events`."
        ),
        parameters="Prefer If-None-Match Last-Event-ID",
        responses={
            200: Response(
                "The current status.",
                {**json_content("Submission"), **_STREAM},
                f"Preference-Applied Vary X-Accel-Buffering {_STATUS_HEADERS}",
            ),
            204: _FINISHED,
            304: Response("Not modified.", headers=f"Preference-Applied Vary {_STATUS_HEADERS}"),
        },
        problems="not_found quota_exceeded",
        problem_headers="Vary Cache-Control",
    ),
    Operation(
        "submission_events",
        "GET",
        "followSubmission",
        "Stream submission progress",
        description=(
            "Server-sent events. Each has an id, and the submission status as its data. They are "
            "named `progress`, the last one `done` (its state says whether the submission was "
            "cancelled). Frequent changes are combined; the last is always sent. A comment every "
            "15 seconds keeps the connection alive. Within 5 seconds after the caller's key or "
            "token expires the stream ends without `done`. Instead of a key or a token in a header "
            "the request may have that of `links.events` as `token`."
        ),
        parameters="Last-Event-ID link_token",
        responses={
            200: Response("The events.", _STREAM, "Cache-Control X-Accel-Buffering"),
            204: _FINISHED,
        },
        problems="not_found quota_exceeded",
        problem_headers="Cache-Control",
    ),
    Operation(
        "submission_outcomes",
        "GET",
        "listOutcomes",
        "List outcomes",
        description=(
            "JSON is paged and contains the outcomes so far. NDJSON and CSV contain all outcomes, "
            "once the submission is finished. CSV has the columns of the submitted file, then "
            "outcome, reason and message, so that refused rows can be corrected and submitted "
            "again."
        ),
        parameters="outcome reason file bom limit same_as_limit cursor",
        responses={
            200: Response(
                "Outcomes in input order.",
                {
                    JSON: ref("OutcomePage"),
                    NDJSON: ndjson("Outcome"),
                    CSV: csv("The columns of the file, and the outcomes.", OUTCOMES_CSV),
                },
                "Vary Content-Disposition",
            )
        },
        problems="option_invalid invalid_parameter not_found submission_not_finished",
        problem_headers="Vary Retry-After",
    ),
    Operation(
        "submission_cancel",
        "POST",
        "cancelSubmission",
        "Cancel a submission",
        description=(
            "The batch that is being processed is finished; all later requests get the outcome "
            "cancelled."
        ),
        responses={
            202: Response(
                "Cancellation was requested.",
                json_content("Submission"),
                f"Location {_STATUS_HEADERS}",
            )
        },
        problems="not_found submission_finished",
    ),
)
