"""What stands in addresses, queries and headers, each described once."""

from collections.abc import Mapping
from typing import Any

from api_gateway.headers import MAX_KEY, MAX_WAIT
from api_gateway.openapi.parts import TEXT, WHOLE, Schema, listed, one_of
from api_gateway.openapi.samples import COURSE_ID
from api_gateway.resources.bodies import DEFAULT_PAGE, MAX_PAGE
from api_gateway.resources.listing import DEFAULT_CHANGES, MOST
from enrollment.domain.codes import Code, Lane, OnError, Reason, State
from enrollment.domain.coursekeys import MAX_COURSE_ID
from schemas.fields import MAX_EMAIL, MAX_MODE, MAX_NAME
from schemas.foreign.detect import AUTO, NAMES


def _in_path(name: str, description: str, most: int, example: str) -> dict[str, Any]:
    return {
        "name": name,
        "in": "path",
        "required": True,
        "description": description,
        "schema": {"type": "string", "minLength": 1, "maxLength": most},
        "example": example,
    }


def _in_query(name: str, description: str, schema: Schema, **more: object) -> dict[str, Any]:
    return {"name": name, "in": "query", "description": description, "schema": schema, **more}


def _words(name: str, description: str, item: Schema, most: int) -> dict[str, Any]:
    """A comma list."""
    return _in_query(
        name,
        f"{description} A comma list.",
        {**listed(item), "maxItems": most},
        style="form",
        explode=False,
    )


def _header(name: str, description: str, schema: Schema, **more: object) -> dict[str, Any]:
    return {"name": name, "in": "header", "description": description, "schema": schema, **more}


_CURSOR = "Where the page begins: what the page before said under next."
_SOURCE: Schema = {"type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$"}
_OPTION_TEXT: Schema = {"type": "string", "minLength": 1, "maxLength": MAX_MODE}

#: By the name of the component, which operations use.
PARAMETERS: Mapping[str, Mapping[str, Any]] = {
    "username": _in_path("username", "Who: a username, case and all.", MAX_NAME, "ada"),
    "course_id": _in_path(
        "course_id",
        "course-v1:org+course+run, or the older org/course/run; raw or percent-encoded.",
        MAX_COURSE_ID,
        COURSE_ID,
    ),
    "email": _in_path("email", "Whom: an e-mail address.", MAX_EMAIL, "ada@example.org"),
    "id": {
        "name": "id",
        "in": "path",
        "required": True,
        "description": "The submission_id that the 202 gave.",
        "schema": {"type": "string", "format": "uuid"},
    },
    "user": _in_query("user", "Whose enrollments; the caller's own unless said.", TEXT),
    "include_expired": _in_query(
        "include_expired",
        "Whether modes past their deadline are listed; 0, false and nothing mean no.",
        TEXT,
    ),
    "one_course": _in_query("course_id", "In this course only.", TEXT),
    "course_ids": _words(
        "course_ids", "In these courses only: course keys, or org+course prefixes.", TEXT, MOST
    ),
    "usernames": _words("username", "Of these learners only.", TEXT, MOST),
    "emails": _words("email", "Of learners with these e-mails only.", TEXT, MOST),
    "cursor": _in_query("cursor", _CURSOR, TEXT),
    "page_size": _in_query(
        "page_size",
        f"Rows on a page, at most {MAX_PAGE}: more means that, and what is no number above 0 means "
        "the default.",
        {"type": "integer", "default": DEFAULT_PAGE},
    ),
    "limit": _in_query(
        "limit",
        "How many on a page.",
        {"type": "integer", "minimum": 1, "maximum": MAX_PAGE, "default": DEFAULT_PAGE},
    ),
    "changes_limit": _in_query(
        "limit",
        "How many events; 0 means the default.",
        {**WHOLE, "maximum": MAX_PAGE, "default": DEFAULT_CHANGES},
    ),
    "since": _in_query(
        "since", "The position after which the events begin.", {**WHOLE, "default": 0}
    ),
    "state": _in_query(
        "state",
        "Submissions in this state only; in any of these where it is given again.",
        listed(one_of([*State])),
        style="form",
        explode=True,
    ),
    "outcome": _words("outcome", "These outcomes only.", one_of([*Code]), len(Code)),
    "reason": _words("reason", "Outcomes with these reasons only.", one_of([*Reason]), len(Reason)),
    "format": _in_query(
        "format",
        "What the file is; auto: found out by its content.",
        {**one_of(NAMES), "default": AUTO},
    ),
    "course": _in_query(
        "course_id", "The course of rows whose format has no place for one.", _OPTION_TEXT
    ),
    "file": _in_query("file", "Of this file of an archive only.", TEXT),
    "submission": _in_query(
        "submission",
        "Whose rows: the submission_id that a 202 gave.",
        {"type": "string", "format": "uuid"},
        required=True,
    ),
    "default_mode": _in_query("default_mode", "The mode of rows without one.", _OPTION_TEXT),
    "on_error": _in_query(
        "on_error",
        "What a refused or invalid row means to the others; abort: all rows or none.",
        {**one_of([*OnError]), "default": OnError.CONTINUE.value},
    ),
    "lane": _in_query("lane", "Which queue; by the number of rows unless said.", one_of([*Lane])),
    "of_source": _in_query(
        "source",
        "Whose ids these are: the crosswalk that is used. The format's name, unless it is ours.",
        _SOURCE,
    ),
    "source": {
        "name": "source",
        "in": "path",
        "required": True,
        "description": "Whose ids these are.",
        "schema": _SOURCE,
        "example": "canvas",
    },
    "dry_run": _in_query(
        "dry_run",
        "Everything is judged and answered, nothing is changed.",
        {**one_of(["true", "1", "false", "0"]), "default": "false"},
    ),
    "Prefer": _header(
        "Prefer",
        f"wait=N: up to N seconds (at most {MAX_WAIT:g}) for what is asked; "
        "respond-async: 202 at once, even where the service waits by default.",
        TEXT,
        example="wait=10",
    ),
    "Idempotency-Key": _header(
        "Idempotency-Key",
        "The same key with the same request is taken in once, and answered as the first time.",
        {"type": "string", "minLength": 1, "maxLength": MAX_KEY},
    ),
    "If-None-Match": _header(
        "If-None-Match", "The ETag of the answer at hand: 304 while it still stands.", TEXT
    ),
    "Last-Event-ID": _header(
        "Last-Event-ID",
        "The id of the last event that was heard: nothing is told twice.",
        TEXT,
    ),
    "Content-Encoding": _header(
        "Content-Encoding", "How the body is packed.", one_of(["gzip", "identity"])
    ),
    "X-Request-ID": _header(
        "X-Request-ID",
        "Follows the request through the service; one is made where none is sent.",
        {"type": "string", "pattern": "^[A-Za-z0-9_.:/+=-]{1,128}$"},
    ),
}


def _sent(description: str, schema: Schema = TEXT) -> dict[str, Any]:
    return {"description": description, "schema": schema}


#: Headers of answers by the name of the component, which is their own.
HEADERS: Mapping[str, Mapping[str, Any]] = {
    "Location": _sent(
        "Where to look for what was made.", {"type": "string", "format": "uri-reference"}
    ),
    "Retry-After": _sent("Whole seconds after which it is worth looking again.", WHOLE),
    "Preference-Applied": _sent("Which preference was followed."),
    "Idempotency-Replayed": _sent(
        "The key was known: nothing was taken in anew.", {"const": "true"}
    ),
    "ETag": _sent("Changes with the answer."),
    "Cache-Control": _sent("Who may keep the answer, and for how long."),
    "Vary": _sent("Which headers of the request decided the form."),
    "Content-Disposition": _sent("A name for the file."),
    "X-Accel-Buffering": _sent("Asks proxies to pass on each event as it comes."),
    "Content-Security-Policy": _sent("The page loads nothing and is shown in no frame."),
    "WWW-Authenticate": _sent("The schemes that would do."),
    "X-Request-ID": _sent("The request's id."),
}
