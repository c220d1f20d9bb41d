"""Parameters of requests and headers of responses, as components of the document."""

from collections.abc import Mapping
from typing import Any

from api_gateway.auth.links.link_tokens import LINK_SECONDS
from api_gateway.feed.change_filter import EVENT_TYPES
from api_gateway.http.headers import MAX_KEY_LENGTH, MAX_WAIT
from api_gateway.http.pagination import DEFAULT_PAGE, MAX_PAGE
from api_gateway.openapi.examples import COURSE_ID, SUBMISSION_ID
from api_gateway.openapi.model import INTEGER, TEXT, Schema, array, enumeration, text
from api_gateway.resources.changes import DEFAULT_CHANGES
from api_gateway.resources.common.numbered_pages import DEFAULT_NUMBERED_PAGE, MAX_NUMBERED_PAGE
from api_gateway.resources.common.submission_params import MAX_IGNORE_CHARS
from api_gateway.resources.enrollments import MAX_FILTER_VALUES
from api_gateway.resources.openedx_v2.learner_enrollments import MINIMAL, ORDERINGS
from enrollment.domain.codes import Code, DeliveryState, Lane, OnError, Reason, State
from enrollment.domain.course_keys import MAX_COURSE_ID
from schemas.destinations.members import DESTINATION_NAME
from schemas.fields import MAX_EMAIL, MAX_MODE
from schemas.files.formats.detect import AUTO, FORMAT_NAMES

Parameters = Mapping[str, Mapping[str, Any]]

_SOURCE = text(pattern="^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")
_UUID = text(format="uuid")
_ID = str(SUBMISSION_ID)
_NAME = text(minLength=1, maxLength=MAX_MODE)
_FILTER = {**array(TEXT), "minItems": 1, "maxItems": MAX_FILTER_VALUES}
_PAGE = {"type": "integer", "minimum": 1, "maximum": MAX_PAGE, "default": DEFAULT_PAGE}


def _described(description: str, schema: Schema = TEXT, **more: object) -> dict[str, Any]:
    return {"description": description, "schema": schema, **more}


def _list(description: str, items: Schema, **more: object) -> dict[str, Any]:
    """Returns a parameter with a comma-separated list."""
    return _described(
        f"{description} A comma-separated list.", items, style="form", explode=False, **more
    )


def _in(location: str, parameters: Parameters) -> dict[str, dict[str, Any]]:
    """Returns parameters in one location; `name` defaults to the name of the component."""
    return {
        name: {"name": name, "in": location, **described} for name, described in parameters.items()
    }


def _bounded(max_length: int) -> Schema:
    return text(minLength=1, maxLength=max_length)


_PATH = {
    "username": _described("The username, case-sensitive.", text(minLength=1), example="ada"),
    "course_id": _described(
        "course-v1:org+course+run, or the older org/course/run; raw or percent-encoded.",
        _bounded(MAX_COURSE_ID),
        example=COURSE_ID,
    ),
    "email": _described("The e-mail address.", _bounded(MAX_EMAIL), example="ada@example.org"),
    "id": _described("The submission_id from the 202 response.", _UUID, example=_ID),
    "webhook": _described("The id of the webhook.", _UUID, example=_ID),
    "report": _described("The id of the report.", _UUID, example=_ID),
    "destination": _described(
        "The name of the destination.", text(pattern=f"^{DESTINATION_NAME}$"), example="lms"
    ),
    "delivery": _described("The id of the delivery.", {"type": "integer", "minimum": 1}, example=1),
    "source": _described("The system that the ids come from.", _SOURCE, example="canvas"),
}
_QUERY = {
    "user": _described("The learner; the caller by default."),
    "include_expired": _described("Include modes past their deadline, unless empty, 0 or false."),
    "one_course": _described("Filter by course.", name="course_id"),
    "course_ids": _list("Filter by courses: course keys, or org+course prefixes.", _FILTER),
    "usernames": _list("Filter by learners.", _FILTER, name="username"),
    "emails": _list("Filter by the e-mails of learners.", _FILTER, name="email"),
    "invited": _described("The e-mail address; that of the caller by default.", name="email"),
    "accounts_by_name": _list("The usernames.", array(TEXT), name="username"),
    "accounts_by_email": _list("The e-mail addresses.", array(TEXT), name="email"),
    "org": _described("Filter by organization."),
    "page": _described("The number of the page.", {"type": "integer", "minimum": 1, "default": 1}),
    "numbered_page_size": _described(
        f"Items per page; larger numbers mean {MAX_NUMBERED_PAGE}, anything else the default.",
        {"anyOf": [{"type": "integer"}, TEXT], "default": DEFAULT_NUMBERED_PAGE},
        name="page_size",
    ),
    "course_key": _described("Filter by course."),
    "course_keys": _list("Filter by courses: course keys, or org+course prefixes.", _FILTER),
    "old_course_key": _described(
        "The older name of course_key.", name="course_id", deprecated=True
    ),
    "old_course_keys": _list(
        "The older name of course_keys.",
        _FILTER,
        name="course_ids",
        deprecated=True,
    ),
    "same_as_user": _described(
        "Another name of user. With both, they must be the same.", name="username"
    ),
    "ordering": _described(
        "The order of the rows. Ids rise with the time of creation.",
        {**enumeration(ORDERINGS), "default": ORDERINGS[0]},
    ),
    "view": _described(
        "The minimal view has rows with course_id, without course details.",
        enumeration([MINIMAL]),
    ),
    "mode": _described(
        "The mode that is asked for; by default the one that the rules choose.", _NAME
    ),
    "cursor": _described("The start of the page: next of the page before."),
    "page_size": _described(
        f"Rows per page; larger numbers mean {MAX_PAGE}, anything else means the default.",
        {"anyOf": [{"type": "integer"}, TEXT], "default": DEFAULT_PAGE},
        example=DEFAULT_PAGE,
    ),
    "limit": _described("Items per page.", _PAGE),
    "same_as_limit": _described(
        "Another name of limit. With both, they must be the same.",
        {"type": "integer", "maximum": MAX_PAGE},
        example=DEFAULT_PAGE,
        name="page_size",
        deprecated=True,
    ),
    "same_as_page_size": _described(
        "Another name of page_size. With both, they must be the same.",
        {"anyOf": [{"type": "integer"}, TEXT]},
        example=DEFAULT_PAGE,
        name="limit",
        deprecated=True,
    ),
    "changes_limit": _described(
        "The maximum number of events; 0 means the default.",
        {**INTEGER, "maximum": MAX_PAGE, "default": DEFAULT_CHANGES},
        name="limit",
    ),
    "link_token": _described(
        "The token in links.events of the submission, for clients that cannot send headers. It can "
        f"be used for {LINK_SECONDS // 60} minutes, and no longer than the credentials of the "
        "caller who asked.",
        name="token",
        example="0f1e2d3c4b5a6978.gAAAAABqZ2V0LWEtbmV3LW9uZQ",
    ),
    "event_types": _list(
        "Filter by type.", array(enumeration(EVENT_TYPES)), name="type", example=[EVENT_TYPES[0]]
    ),
    "changed_courses": _list("Filter by course.", _FILTER, name="course_id", example=[COURSE_ID]),
    "changed_learners": _list("Filter by learner.", _FILTER, name="username", example=["ada"]),
    "since": _described("The position after which to start.", {**INTEGER, "default": 0}),
    "delivery_state": _described("Filter by state.", enumeration([*DeliveryState]), name="state"),
    "state": _described(
        "Filter by state: a comma-separated list, or the parameter repeated.",
        array(enumeration([*State])),
        style="form",
        explode=True,
        example=[State.DONE.value],
    ),
    "outcome": _list(
        "Filter by outcome.", array(enumeration([*Code])), example=[Code.REFUSED.value]
    ),
    "reason": _list(
        "Filter by reason.", array(enumeration([*Reason])), example=[Reason.COURSE_FULL.value]
    ),
    "format": _described(
        "The format of the file; auto: detect it by the content.",
        {**enumeration(FORMAT_NAMES), "default": AUTO},
    ),
    "course": _described(
        "The course, if the format has no column for it.",
        _NAME,
        name="course_id",
        example=COURSE_ID,
    ),
    "file": _described("Filter by a file of the archive.", example="enrollments.csv"),
    "submission": _described(
        "The submission_id from the 202 response.", _UUID, required=True, example=_ID
    ),
    "default_mode": _described("The mode of rows without one.", _NAME, example="audit"),
    "on_error": _described(
        "Whether a refused or invalid row aborts all others.",
        {**enumeration([*OnError]), "default": OnError.CONTINUE.value},
    ),
    "lane": _described(
        "The queue; by default it depends on the number of rows.",
        enumeration([*Lane]),
        example=Lane.BULK.value,
    ),
    "of_source": _described(
        "The crosswalk that maps the ids; by default that of the format, unless it is our own.",
        _SOURCE,
        name="source",
        example="canvas",
    ),
    "ignore": _described(
        "Names of columns (of JSON: members), with commas between them, that are not read although "
        "they look like ones that are.",
        text(minLength=1, maxLength=MAX_IGNORE_CHARS),
        example="status",
    ),
    "bom": _described(
        "Whether CSV begins with a byte order mark, by which spreadsheets know UTF-8.",
        {**enumeration(["true", "1", "false", "0"]), "default": "true"},
    ),
    "apply": _described(
        "Whether what is missing or differs is sent to the destination.",
        {**enumeration(["true", "1", "false", "0"]), "default": "false"},
    ),
    "dry_run": _described(
        "Process everything and report the outcomes, without any change.",
        {**enumeration(["true", "1", "false", "0"]), "default": "false"},
    ),
}
_HEADER = {
    "Prefer": _described(
        f"wait=N: wait up to N seconds (at most {MAX_WAIT:g}); "
        "respond-async: 202 at once, even where the service waits by default.",
        example="wait=10",
    ),
    "Idempotency-Key": _described(
        "A repeated request with the same key is not stored again; its response is that of the "
        "first. The order of members and the white space of JSON do not make it another request.",
        _bounded(MAX_KEY_LENGTH),
        example="term-2026-09",
    ),
    "If-None-Match": _described(
        "The ETag of a previous response: 304 if it is still current.", example='"0123456789abcdef"'
    ),
    "Last-Event-ID": _described(
        "The id of the last event received, after which to continue.", example="12"
    ),
    "Content-Encoding": _described(
        "The compression of the body.", enumeration(["gzip", "identity"]), example="identity"
    ),
    "X-Request-ID": _described(
        "Correlates the request in all logs: 1 to 128 letters, digits and `_.:/+=-`. Anything else "
        "is replaced, and without it one is generated; the response has the one that counts.",
        example="term-2026-09/42",
    ),
}
#: Parameters by name of the component, which operations refer to.
PARAMETERS: Parameters = {
    **_in("path", {name: {**described, "required": True} for name, described in _PATH.items()}),
    **_in("query", _QUERY),
    **_in("header", _HEADER),
}

#: Headers of responses by name.
HEADERS: Parameters = {
    "Location": _described("The URL of the created resource.", text(format="uri-reference")),
    "Retry-After": _described("Seconds to wait before the next request.", INTEGER),
    "Preference-Applied": _described("The preference that was applied."),
    "Idempotency-Replayed": _described(
        "The key was known: nothing new was stored.", {"const": "true"}
    ),
    "ETag": _described("The version of the response."),
    "Cache-Control": _described("Who may cache the response, and for how long."),
    "Vary": _described("The request headers that the response depends on."),
    "Deprecation": _described(
        "The request used a parameter that is deprecated since then (RFC 9745).",
        example="@1767225600",
    ),
    "Content-Disposition": _described("A name for the file."),
    "X-Accel-Buffering": _described("Tells proxies not to buffer events."),
    "Content-Encoding": _described("gzip, if the request accepts it.", {"const": "gzip"}),
    "Content-Security-Policy": _described(
        "The page runs nothing, loads its style sheet alone, and cannot be framed."
    ),
    "Pragma": _described("no-cache, for caches of HTTP/1.0."),
    "RateLimit": _described(
        "The rate of a throttled caller: r requests are left now, and t seconds pass until there "
        "are more (draft-ietf-httpapi-ratelimit-headers).",
        example='"learner";r=39;t=60',
    ),
    "RateLimit-Policy": _described(
        "The rate of a throttled caller: q requests in w seconds.", example='"learner";q=40;w=60'
    ),
    "WWW-Authenticate": _described("The accepted authentication schemes."),
    "X-Request-ID": _described("The id of the request."),
}
