"""Problems as version 2 of the Open edX API has them: other statuses, and always a body."""

from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus

from api_gateway.http.problems import Problem


@contextmanager
def v2_problems() -> Iterator[None]:
    """Gives the problems of version 1 that the block raises the form of version 2.

    An unknown learner is 404 in place of 406, and no body is empty.
    """
    try:
        yield
    except Problem as problem:
        if problem.status is HTTPStatus.NOT_ACCEPTABLE:
            problem.status = HTTPStatus.NOT_FOUND
        problem.empty = False
        raise
