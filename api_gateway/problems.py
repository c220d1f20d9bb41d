"""Errors as callers see them: one shape everywhere (RFC 9457).

On upstream's own v1 routes the same members travel as ``application/json``, because clients
there read ``message`` and compare the content type to the letter.
"""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from schemas.findings import Finding


class Problem(Exception):
    """An answer that is not what was asked for."""

    def __init__(
        self,
        status: HTTPStatus,
        code: str,
        detail: str,
        *,
        errors: Sequence[Finding] = (),
        headers: Mapping[str, str] | None = None,
        members: Mapping[str, object] | None = None,
        empty: bool = False,
    ) -> None:
        super().__init__(detail)
        self.status = status
        #: Stable word for programs.
        self.code = code
        #: One sentence for people: what, where, what to do.
        self.detail = detail
        self.errors = tuple(errors)
        self.headers = dict(headers or {})
        #: More members of the body, such as ``course_details``.
        self.members = dict(members or {})
        #: Upstream answers some refusals with no body at all.
        self.empty = empty

    def body(self) -> dict[str, Any]:
        """The members of the answer."""
        members: dict[str, Any] = {
            "type": f"/docs/reasons#{self.code}",
            "title": self.status.phrase,
            "status": int(self.status),
            "detail": self.detail,
            "code": self.code,
            "message": self.detail,
        }
        if self.errors:
            members["errors"] = list(self.errors)
        return members | self.members


def bad_request(code: str, detail: str, *errors: Finding) -> Problem:
    """400."""
    return Problem(HTTPStatus.BAD_REQUEST, code, detail, errors=errors)


def forbidden(detail: str) -> Problem:
    """403."""
    return Problem(HTTPStatus.FORBIDDEN, "not_permitted", detail)


def unauthenticated(detail: str = "Authentication credentials were not provided.") -> Problem:
    """401, with the schemes that would do."""
    return Problem(
        HTTPStatus.UNAUTHORIZED,
        "not_authenticated",
        detail,
        headers={"WWW-Authenticate": 'JWT realm="api", Bearer realm="api"'},
    )


def too_large(detail: str) -> Problem:
    """413, saying the limit."""
    return Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "too_large", detail)


def unsupported(detail: str) -> Problem:
    """415, saying what would do."""
    return Problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", detail)


def unavailable(detail: str, *, retry_after: int = 2) -> Problem:
    """503: come back."""
    return Problem(
        HTTPStatus.SERVICE_UNAVAILABLE,
        "unavailable",
        detail,
        headers={"Retry-After": str(retry_after)},
    )
