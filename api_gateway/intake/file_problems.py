"""Turns errors in an uploaded file into problems."""

from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus

from api_gateway.http.problems import Problem, too_large
from schemas.files.source import FileTooLarge, UnreadableFile


@contextmanager
def file_problems() -> Iterator[None]:
    """Raises Problem 413 for files that are too large, 400 or 422 for unreadable ones."""
    try:
        yield
    except FileTooLarge as error:
        raise too_large(str(error)) from error
    except UnreadableFile as error:
        is_malformed = error.is_malformed
        status = HTTPStatus.BAD_REQUEST if is_malformed else HTTPStatus.UNPROCESSABLE_ENTITY
        raise Problem(status, error.code, error.message, errors=[error.finding()]) from error
