"""Stacks that several tests share; what a test does to one, it mends."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.running import Stack, wait_until
from tests.support.servers import create_database, drop_database


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


@pytest.fixture(
    scope="module",
    params=["sqlite-1", "sqlite-3", "postgresql-1", "postgresql-3"],
)
def whole(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Whole]:
    """The embedded default, and PostgreSQL with a real Redis, with one worker and with three."""
    kind, workers = request.param.split("-")
    folder = tmp_path_factory.mktemp(request.param)
    environment: dict[str, str] = {}
    url = f"sqlite:///{folder / 'data' / 'enrollment.sqlite3'}"
    with ExitStack() as stack:
        if kind == "postgresql":
            base = request.getfixturevalue("postgres_base_url")
            url = create_database(base)
            stack.callback(drop_database, base, url)
            environment = {
                "ENROLL_DATABASE_URL": url,
                "ENROLL_REDIS_URL": request.getfixturevalue("redis_base_url"),
            }
        up = stack.enter_context(running(folder, "--workers", workers, **environment))
        yield Whole(up, url, int(workers))
