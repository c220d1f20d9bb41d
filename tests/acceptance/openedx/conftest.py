"""Stacks as a client of Open edX finds them: a default wait, the server key, clients' tokens."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from functools import cache
from typing import Any

import pytest

from enrollment.runtime.settings import VARIABLES
from tests.support.openedx_client import MEDIA, SETTINGS, OpenEdxClient
from tests.support.service_processes import Stack

EMBEDDED, SERVERS = "sqlite-1", "postgresql-1"


@pytest.fixture(scope="package")
def openedx_stack(
    start_whole: Callable[..., AbstractContextManager[Any]],
) -> Iterator[Callable[[str], Stack]]:
    """Returns the stack of a kind; each is started once, when it is first asked for."""
    with ExitStack() as stacks:

        @cache
        def of(kind: str) -> Stack:
            settings = {**SETTINGS, "ENROLL_THROTTLE": "off"}
            settings = {k: v for k, v in settings.items() if k in VARIABLES}
            up: Stack = stacks.enter_context(start_whole(kind, **settings)).up
            return up

        yield of


@pytest.fixture(params=[EMBEDDED, SERVERS], ids=["embedded", "servers"])
def edx(request: pytest.FixtureRequest, openedx_stack) -> Iterator[OpenEdxClient]:
    """A client on each stack, for requests without a body."""
    client = OpenEdxClient(openedx_stack(request.param))
    yield client
    client.close()


@pytest.fixture(
    params=[(EMBEDDED, "json"), *((SERVERS, media) for media in MEDIA)],
    ids=["embedded-json", *(f"servers-{media}" for media in MEDIA)],
)
def form(request: pytest.FixtureRequest, openedx_stack) -> Iterator[OpenEdxClient]:
    """A client on each stack, for bodies: in each of the three media types."""
    kind, media = request.param
    client = OpenEdxClient(openedx_stack(kind), media)
    yield client
    client.close()
