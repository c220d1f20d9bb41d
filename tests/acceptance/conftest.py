"""Stacks that several tests share; what a test does to one, it mends."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.production import EDX_KEY, Production
from tests.support.roles import database_with_roles, restricted_redis
from tests.support.servers import create_database, drop_database, redis_process
from tests.support.service_processes import Stack, wait_until


class Whole(NamedTuple):
    """A running `enroll up`, and where its records are."""

    up: Stack
    database_url: str
    workers: int


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Callable[..., Stack]]:
    """Starts stacks on one folder, one after another."""
    made: list[Stack] = []

    def start(*options: str, **environment: str) -> Stack:
        made.append(Stack(tmp_path, *options, **environment))
        return made[-1].start()

    yield start
    for one in made:
        one.kill()
    for one in made:
        wait_until(lambda one=one: not one.left(), one.log)


@contextmanager
def running(folder: Path, *options: str, **environment: str) -> Iterator[Stack]:
    """A stack that ends with the block."""
    up = Stack(folder, *options, **environment)
    try:
        yield up.start()
    finally:
        up.kill()
        wait_until(lambda: not up.left(), up.log)


@pytest.fixture(scope="session")
def start_whole(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., AbstractContextManager[Whole]]:
    """Starts a stack of a kind, such as "postgresql-3": its database and number of workers.

    Further arguments are settings, by the names of their variables.
    """

    @contextmanager
    def start(name: str, **environment: str) -> Iterator[Whole]:
        kind, workers = name.split("-")
        folder = tmp_path_factory.mktemp(name)
        url = f"sqlite:///{folder / 'data' / 'enrollment.sqlite3'}"
        with ExitStack() as stack:
            if kind == "postgresql":
                base = request.getfixturevalue("postgres_base_url")
                url = create_database(base)
                stack.callback(drop_database, base, url)
                # of its own: workers of another stack would take its messages
                server = stack.enter_context(redis_process())
                environment |= {"ENROLL_DATABASE_URL": url, "ENROLL_REDIS_URL": server.url}
            up = stack.enter_context(running(folder, "--workers", workers, **environment))
            yield Whole(up, url, int(workers))

    return start


@pytest.fixture(
    scope="module",
    params=["sqlite-1", "postgresql-1", "sqlite-3", "postgresql-3"],
)
def whole(
    request: pytest.FixtureRequest, start_whole: Callable[[str], AbstractContextManager[Whole]]
) -> Iterator[Whole]:
    """The embedded default, and PostgreSQL with a real Redis, with one worker and with three."""
    with start_whole(request.param) as started:
        yield started


@pytest.fixture(scope="session")
def production(
    postgres_base_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Production]:
    """What docker-compose.yml runs, with a second gateway, set up for Open edX clients.

    Each process has the rights of `deploy/` on PostgreSQL and Redis, and no others.
    """
    settings = {"ENROLL_EDX_API_KEY": EDX_KEY, "ENROLL_DEFAULT_WAIT": "10"}
    folder = tmp_path_factory.mktemp("production")
    with (
        database_with_roles(postgres_base_url) as urls,
        restricted_redis() as server,
        Production(folder, urls, server, redis_url=server.service_url, **settings) as running,
    ):
        yield running
