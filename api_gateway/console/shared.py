"""The parts that the pages of the console share."""

import math
from dataclasses import dataclass
from http import HTTPStatus
from typing import cast
from urllib.parse import urlencode

from falcon.asgi import Request, Response

from api_gateway.console.navigation import CONSOLE_PATH
from api_gateway.console.renderer import Renderer
from api_gateway.console.sessions.sessions import ConsoleSessions
from api_gateway.http.problems import Problem
from api_gateway.parts import Parts
from api_gateway.resources.outcomes import OutcomesResource
from api_gateway.resources.submission import CancelResource
from api_gateway.resources.submissions import SubmissionsResource

_MAX_DIGITS = 9


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsoleParts:
    """The parts of the gateway and of the console, and the resources that its pages call."""

    parts: Parts
    sessions: ConsoleSessions
    renderer: Renderer
    submissions: SubmissionsResource
    cancellation: CancelResource
    outcomes: OutcomesResource


def see_other(resp: Response, path: str) -> None:
    """Sends the browser to a page of the console, with a GET; `path` is below `/console`."""
    resp.status = HTTPStatus.SEE_OTHER
    resp.set_header("Location", f"{CONSOLE_PATH}{path}")


def check_is_shown(problem: Problem) -> None:
    """Raises a problem again unless it is about the fields of a form, which shows it."""
    if problem.status not in {HTTPStatus.BAD_REQUEST, HTTPStatus.CONFLICT}:
        raise problem


def split_list(text: str) -> list[str]:
    """Returns the entries of a field that has several, on lines or between commas."""
    return [entry.strip() for entry in text.replace(",", "\n").splitlines() if entry.strip()]


def parse_number(text: str) -> object:
    """Returns the finite number in a field; a text that is none as it is, to be refused."""
    try:
        number = float(text) if "." in text else int(text)
    except ValueError:
        return text
    return number if isinstance(number, int) or math.isfinite(number) else text


def drop_empty_parameters(req: Request) -> None:
    """Removes parameters without a value: fields of a form in which nothing was chosen."""
    params = cast("dict[str, object]", req.params)
    for name in [name for name, value in params.items() if value == ""]:
        del params[name]


def read_count(req: Request, name: str) -> int | None:
    """Returns a number that a page of ours put into its address; None for anything else."""
    text = req.get_param(name) or ""
    is_number = text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS
    return int(text) if is_number else None


def with_parameter(req: Request, name: str, value: str | None) -> str | None:
    """Returns the address of a page with one of its parameters replaced; None without a value."""
    if value is None:
        return None
    kept = {key: text for key, text in req.params.items() if isinstance(text, str)}
    return f"{req.path}?{urlencode({**kept, name: value})}"
