"""Exception handlers: map exceptions to problem responses (RFC 9457)."""

import secrets
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

import falcon
import structlog
from falcon.asgi import Request, Response

from api_gateway.http.problem_status import PROBLEM_STATUS
from api_gateway.http.problems import Problem, ProblemMembersJson, unavailable
from api_gateway.http.responses import dumps
from enrollment.domain import errors as domain
from schemas.submissions import SUBMISSIONS_PATH

log = structlog.get_logger()


#: Writes a problem as a page, if the request is for a page; returns whether it is.
WritePage = Callable[[Request, Response, Problem], bool]


class ErrorHandlers:
    """Error handlers for Falcon; `is_v1` tells the requests for Open edX's own routes."""

    def __init__(self, is_v1: Callable[[Request], bool], write_page: WritePage) -> None:
        self._is_v1 = is_v1
        self._write_page = write_page

    async def problem(self, req: Request, resp: Response, error: Problem, _params: Any) -> None:
        """Sends a problem that a resource raised."""
        self._write(req, resp, error)

    async def domain_error(
        self, req: Request, resp: Response, error: domain.EnrollmentError, _params: Any
    ) -> None:
        """Sends a domain error; the docstring of its class is the message."""
        status, code = PROBLEM_STATUS[type(error)]
        detail = (type(error).__doc__ or "").strip()
        if status is HTTPStatus.SERVICE_UNAVAILABLE:
            log.warning(
                "request.unavailable",
                path=req.uri_template,  # the path itself may name a learner
                request_id=req.context.get("request_id"),
                because=str(error),
            )
            is_list = isinstance(error, domain.ListTooSlow)
            text = detail if is_list else "The database is temporarily unavailable."
            self._write(req, resp, unavailable(text))
            return
        problem = Problem(status, code, detail)
        if isinstance(error, domain.KeyInFlight):
            problem.headers["Retry-After"] = "1"
        if isinstance(error, domain.KeyReused):
            problem.advice = "Use a new key for each request."
            if error.submission_id is not None:
                path = f"{SUBMISSIONS_PATH}/{error.submission_id}"
                problem.members["first_submission"] = path
                problem.advice += f" The first request with it is {path}."
        self._write(req, resp, problem)

    async def falcon_error(
        self, req: Request, resp: Response, error: falcon.HTTPError, _params: Any
    ) -> None:
        """Sends an error of the framework: unknown route or method, malformed header."""
        status = HTTPStatus(error.status_code)
        detail = error.description or error.title or status.phrase
        if status is HTTPStatus.METHOD_NOT_ALLOWED:
            detail = f'Method "{req.method}" not allowed.'
        elif status is HTTPStatus.NOT_FOUND:
            detail = "There is nothing at this address: /docs and /openapi.json list the paths."
        headers = dict(error.headers or {})
        code = status.phrase.lower().replace(" ", "_")
        self._write(req, resp, Problem(status, code, detail, headers=headers))

    async def unexpected(
        self, req: Request, resp: Response, error: Exception, _params: Any
    ) -> None:
        """Sends 500 for an unexpected exception; logs its traceback with a correlation id."""
        correlation_id = secrets.token_hex(8)
        log.error(
            "request.failed",
            path=req.uri_template,
            request_id=req.context.get("request_id"),
            correlation_id=correlation_id,
            exc_info=error,
        )
        detail = f"Internal error. Quote {correlation_id} to the operator."
        members: ProblemMembersJson = {"correlation_id": correlation_id}
        status = HTTPStatus.INTERNAL_SERVER_ERROR
        self._write(req, resp, Problem(status, "internal_error", detail, members=members))

    def _write(self, req: Request, resp: Response, problem: Problem) -> None:
        resp.status = problem.status
        resp.set_headers(problem.headers)
        if problem.status is HTTPStatus.REQUEST_TIMEOUT:
            resp.set_header("Connection", "close")  # the rest of the body is not awaited
        if problem.empty or self._write_page(req, resp, problem):
            return
        is_v1 = self._is_v1(req)
        body = problem.body()
        if not is_v1:
            body["detail"] = body["message"]
        if is_v1 and problem.status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
            body["developer_message"] = problem.detail
        resp.content_type = falcon.MEDIA_JSON if is_v1 else "application/problem+json"
        resp.data = dumps(body)


def install(
    app: falcon.asgi.App[Request, Response],
    is_v1: Callable[[Request], bool],
    write_page: WritePage,
) -> None:
    """Registers the handlers."""
    handlers = ErrorHandlers(is_v1, write_page)
    app.add_error_handler(Exception, handlers.unexpected)
    app.add_error_handler(falcon.HTTPError, handlers.falcon_error)
    app.add_error_handler(domain.EnrollmentError, handlers.domain_error)
    app.add_error_handler(Problem, handlers.problem)
