"""Stacks as a client of Open edX finds them: a default wait, the server key, clients' tokens."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import pytest

from tests.support.openedx_client import SETTINGS, CoursePool, OpenEdxClient

UNTHROTTLED = {**SETTINGS, "ENROLL_THROTTLE": "off"}

StartWhole = Callable[..., AbstractContextManager[Any]]


@pytest.fixture(scope="package")
def embedded(start_whole: StartWhole) -> Iterator[CoursePool]:
    """`enroll up` on SQLite with the embedded Redis."""
    with start_whole("sqlite-1", **UNTHROTTLED) as whole:
        yield CoursePool(whole.up)


@pytest.fixture(scope="package")
def servers(start_whole: StartWhole) -> Iterator[CoursePool]:
    """The same on PostgreSQL and Redis."""
    with start_whole("postgresql-1", **UNTHROTTLED) as whole:
        yield CoursePool(whole.up)


@pytest.fixture(params=["embedded", "servers"])
def edx(request: pytest.FixtureRequest) -> Iterator[OpenEdxClient]:
    """A client on each stack, for requests without a body."""
    client = OpenEdxClient(request.getfixturevalue(request.param))
    yield client
    client.close()


@pytest.fixture(params=["servers-json", "embedded-urlencoded", "servers-multipart"])
def form(request: pytest.FixtureRequest) -> Iterator[OpenEdxClient]:
    """A client for bodies: each media type, on one of the stacks."""
    stack, media = request.param.split("-")
    client = OpenEdxClient(request.getfixturevalue(stack), media)
    yield client
    client.close()
