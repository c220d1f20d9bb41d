"""Problem details (RFC 9457): the body of all error responses.

On the routes of Open edX's own API the same members are sent as `application/json`, because
its clients read `message` and compare the content type exactly.
"""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Annotated, NotRequired, TypedDict, cast

from schemas.courses import CourseDetailsJson
from schemas.encoding.json_types import Doc, FindingJson, StringFormat
from schemas.findings import Finding
from schemas.messages.finding_messages import with_sentence
from schemas.outcomes import OutcomeJson

_WAYS_TO_AUTHENTICATE = (
    "Send an API key as `X-Edx-Api-Key: KEY` or `Authorization: Bearer KEY`, "
    "or a token as `Authorization: JWT TOKEN`."
)


class FieldErrorJson(TypedDict):
    """An error in one parameter, in the form that Open edX sends."""

    developer_message: str


class ProblemMembersJson(TypedDict, total=False):
    """Members that some errors have in addition."""

    outcome: OutcomeJson
    course_details: CourseDetailsJson
    developer_message: str
    error_code: str
    error: Annotated[str, Doc("The error code of RFC 6749, 5.2, on the route for tokens.")]
    error_description: str
    field_errors: dict[str, FieldErrorJson]
    first_submission: Annotated[
        str, Doc("The submission of the first request with the Idempotency-Key.")
    ]
    correlation_id: Annotated[str, Doc("The id under which the error is logged.")]


class ProblemJson(ProblemMembersJson):
    """An error (RFC 9457)."""

    type: Annotated[str, StringFormat("uri-reference")]
    title: str
    status: int
    detail: str
    code: Annotated[str, Doc("A stable word; /docs/reasons explains it.")]
    message: Annotated[str, Doc("The same as detail; on routes of Open edX with what to do.")]
    errors: NotRequired[list[FindingJson]]


class Problem(Exception):
    """An error response, raised by resources."""

    def __init__(
        self,
        status: HTTPStatus,
        code: str,
        detail: str,
        *,
        errors: Sequence[Finding] = (),
        headers: Mapping[str, str] | None = None,
        members: ProblemMembersJson | Mapping[str, list[str]] | None = None,
        empty: bool = False,
    ) -> None:
        super().__init__(detail)
        self.status = status
        #: The stable code, for programs.
        self.code = code
        #: One sentence for people: the error, its place, the remedy.
        self.detail = detail
        self.errors = tuple(errors)
        self.headers = dict(headers or {})
        #: Additional members of the body, such as `course_details`.
        self.members: dict[str, object] = dict(members or {})
        #: A remedy that follows `detail`, except in the `detail` of Open edX's own routes.
        self.advice = ""
        #: Whether to send no body, as Open edX does for some errors.
        self.empty = empty

    def body(self) -> ProblemJson:
        """Returns the members of the body."""
        body: ProblemJson = {
            "type": f"/docs/reasons#{self.code}",
            "title": self.status.phrase,
            "status": int(self.status),
            "detail": self.detail,
            "code": self.code,
            "message": f"{self.detail} {self.advice}".rstrip(),
        }
        if self.errors:
            body["errors"] = cast("list[FindingJson]", list(map(with_sentence, self.errors)))
        return cast("ProblemJson", {**body, **self.members})


def bad_request(code: str, detail: str, *errors: Finding) -> Problem:
    """Returns problem 400."""
    return Problem(HTTPStatus.BAD_REQUEST, code, detail, errors=errors)


def forbidden(detail: str, advice: str = "") -> Problem:
    """Returns problem 403."""
    problem = Problem(HTTPStatus.FORBIDDEN, "not_permitted", detail)
    problem.advice = advice
    return problem


def unauthenticated(detail: str = "Authentication credentials were not provided.") -> Problem:
    """Returns problem 401 with the ways to authenticate."""
    problem = Problem(
        HTTPStatus.UNAUTHORIZED,
        "not_authenticated",
        detail,
        headers={"WWW-Authenticate": 'JWT realm="api", Bearer realm="api"'},
    )
    problem.advice = _WAYS_TO_AUTHENTICATE
    return problem


def too_large(detail: str) -> Problem:
    """Returns problem 413; `detail` names the limit."""
    return Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "too_large", detail)


def unsupported(detail: str) -> Problem:
    """Returns problem 415; `detail` names the accepted types."""
    return Problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", detail)


def instead_of(content_type: str) -> str:
    """Returns the end of a sentence that names the accepted types: the type that was sent."""
    if not content_type:
        return "and name it in Content-Type, which is missing"
    return f"not {content_type[:100]!r}"


def too_many(detail: str, *, retry_after: int) -> Problem:
    """Returns problem 429 with Retry-After in seconds; `detail` names the caller's limit."""
    return Problem(
        HTTPStatus.TOO_MANY_REQUESTS,
        "quota_exceeded",
        detail,
        headers={"Retry-After": str(retry_after)},
    )


def unavailable(detail: str, *, retry_after: int = 2) -> Problem:
    """Returns problem 503 with Retry-After in seconds."""
    return Problem(
        HTTPStatus.SERVICE_UNAVAILABLE,
        "unavailable",
        detail,
        headers={"Retry-After": str(retry_after)},
    )
