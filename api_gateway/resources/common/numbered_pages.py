"""Numbered pages: their parameters, and the links from one to another."""

from collections.abc import Iterable
from http import HTTPStatus
from typing import NamedTuple
from urllib.parse import urlencode

from falcon.asgi import Request

from api_gateway.http.problems import Problem

DEFAULT_NUMBERED_PAGE = 10
MAX_NUMBERED_PAGE = 100
_MAX_DIGITS = 9


class PageNumber(NamedTuple):
    """A page that is asked for; pages begin at 1."""

    number: int
    size: int

    @property
    def start(self) -> int:
        """The number of rows before it."""
        return (self.number - 1) * self.size

    def of(self, count: int) -> int:
        """Returns the number of pages of so many rows; there is always one."""
        return max(1, -(-count // self.size))


def read_page_number(req: Request) -> PageNumber:
    """Reads `page` and `page_size`. Raises Problem 404 for a page that is no number.

    As in Open edX a size that is too large means the largest, and one that is none the default.
    """
    size = min(read_number(req, "page_size") or DEFAULT_NUMBERED_PAGE, MAX_NUMBERED_PAGE)
    number = read_number(req, "page") if req.get_param("page") else 1
    if number is None:
        raise no_such_page()
    return PageNumber(number, size)


def read_number(req: Request, name: str) -> int | None:
    """Returns a positive whole number; None for anything else."""
    text = req.get_param(name) or ""
    if not (text.isascii() and text.isdigit()) or len(text.lstrip("0")) > _MAX_DIGITS:
        return None
    return int(text) or None


def page_link(req: Request, repeated: Iterable[str], **more: object) -> str:
    """Returns the URL of another page, with these parameters of the request and others."""
    given = {name: req.get_param(name) for name in repeated if req.has_param(name)}
    return f"{req.prefix}{req.path}?{urlencode({**given, **more})}"


def no_such_page() -> Problem:
    """Returns the problem 404 of Open edX for a page that does not exist."""
    return Problem(HTTPStatus.NOT_FOUND, "invalid_parameter", "Invalid page.")
