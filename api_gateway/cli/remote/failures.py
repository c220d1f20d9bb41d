"""Error responses of the service, as errors of commands."""

from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Any

import click
import httpx

from api_gateway.cli.exit_codes import Denied, FileRefused, Refused, Unreachable
from api_gateway.cli.output import terminal_safe

#: Maximum number of validation errors that are printed.
MAX_FINDINGS_SHOWN = 20
_DENIED = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN})
#: Statuses of uploads whose contents were refused.
_FILE_STATUSES = frozenset(
    {
        HTTPStatus.BAD_REQUEST,
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
        HTTPStatus.UNPROCESSABLE_ENTITY,
    }
)
#: Problem codes with these statuses that are about the request, not about the file.
_REQUEST_CODES = frozenset(
    {
        "bad_request",
        "idempotency_key_invalid",
        "idempotency_key_reused",
        "invalid_parameter",
        "invalid_source",
        "option_invalid",
    }
)


def failure_of(response: httpx.Response, *, is_upload: bool, key_hint: str) -> click.ClickException:
    """Returns the error of a response; `key_hint` says where the API key came from."""
    problem = _problem(response)
    kind = _kind(response, problem, is_upload=is_upload)
    return kind("\n".join(_message(response, problem, key_hint)))


def _problem(response: httpx.Response) -> Mapping[str, Any]:
    try:
        body: Any = response.json()
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def _kind(
    response: httpx.Response, problem: Mapping[str, Any], *, is_upload: bool
) -> type[click.ClickException]:
    if response.is_server_error:
        return Unreachable
    if response.status_code in _DENIED:
        return Denied
    is_about_file = response.status_code in _FILE_STATUSES
    if is_upload and is_about_file and problem.get("code") not in _REQUEST_CODES:
        return FileRefused
    return Refused


def _message(response: httpx.Response, problem: Mapping[str, Any], key_hint: str) -> Iterator[str]:
    text = problem.get("message") or problem.get("detail")
    if response.status_code == HTTPStatus.UNAUTHORIZED:
        detail = terminal_safe(problem.get("detail") or response.reason_phrase)
        yield detail.partition(" Send an API key as ")[0]
        yield key_hint or "Give an API key with --key or ENROLL_API_KEY."
        yield "`enroll keys create NAME --scope SCOPE` creates a key on the service's machine."
        return
    yield terminal_safe(text or f"{response.status_code} {response.reason_phrase}")
    errors = problem.get("errors") or []
    for finding in errors[:MAX_FINDINGS_SHOWN]:
        yield f"  {_describe(finding)}"
    if len(errors) > MAX_FINDINGS_SHOWN:
        yield f"  … and {len(errors) - MAX_FINDINGS_SHOWN} more"


def _describe(finding: Mapping[str, Any]) -> str:
    """Returns the place of a finding and its message; without one value, rule and expectation."""
    line = f"line {finding['line']}" if "line" in finding else ""
    place = finding.get("pointer") or line
    if message := finding.get("message"):
        return ": ".join(terminal_safe(part) for part in (place, message) if part)
    parts = [place, finding.get("field"), finding.get("value"), finding.get("rule")]
    text = ": ".join(terminal_safe(part) for part in parts if part not in (None, ""))
    if expected := finding.get("expected"):
        expected = ", ".join(expected) if isinstance(expected, list) else expected
        text += f"; expected: {terminal_safe(expected)}"
    return text
