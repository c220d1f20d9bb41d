"""Stacks as a client of Open edX finds them: a default wait, the server key, clients' tokens."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import pytest

from tests.support.openedx_client import SETTINGS, CoursePool, OpenEdxClient
from tests.support.service_processes import Stack

UNTHROTTLED = {**SETTINGS, "ENROLL_THROTTLE": "off"}

StartWhole = Callable[..., AbstractContextManager[Any]]


def course_pool(up: Stack) -> Iterator[CoursePool]:
    """Courses of a stack, with the connections of all its tests."""
    pool = CoursePool(up)
    with pool.http:
        yield pool


@pytest.fixture(scope="package")
def embedded(start_whole: StartWhole) -> Iterator[CoursePool]:
    """`enroll up` on SQLite with the embedded Redis."""
    with start_whole("sqlite-1", **UNTHROTTLED) as whole:
        yield from course_pool(whole.up)


@pytest.fixture(scope="package")
def servers(start_whole: StartWhole) -> Iterator[CoursePool]:
    """The same on PostgreSQL and Redis."""
    with start_whole("postgresql-1", **UNTHROTTLED) as whole:
        yield from course_pool(whole.up)


@pytest.fixture(params=["embedded", "servers"])
def edx(request: pytest.FixtureRequest) -> OpenEdxClient:
    """A client on each stack, for requests without a body."""
    return OpenEdxClient(request.getfixturevalue(request.param))


@pytest.fixture(params=["servers-json", "embedded-urlencoded", "servers-multipart"])
def form(request: pytest.FixtureRequest) -> OpenEdxClient:
    """A client for bodies: each media type, on one of the stacks."""
    stack, media = request.param.split("-")
    return OpenEdxClient(request.getfixturevalue(stack), media)
