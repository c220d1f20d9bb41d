"""A whole service, and the Chromium of this machine, for all tests of the console."""

import json
from collections.abc import Callable, Iterator
from typing import NamedTuple

import pytest
from playwright.sync_api import Browser, expect, sync_playwright

from tests.acceptance.conftest import running
from tests.support.browser import chromium_program
from tests.support.console_user import ConsoleUser, console_user
from tests.support.service_processes import PATIENCE, Stack

#: A pause after each batch: a file of 50,000 rows can be seen while it runs.
SLOW_BATCHES = "work.committed=sleep:0.05"


class NewKey(NamedTuple):
    """An API key; `secret` is what is typed."""

    id: int
    secret: str


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """Of this package alone: while its library runs, its thread has a running event loop."""
    program = chromium_program()
    expect.set_options(timeout=PATIENCE * 1_000)
    with sync_playwright() as playwright:
        # sandboxes of Chromium need privileges that containers do not have
        started = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture(scope="package")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """What `enroll up` starts, with one worker."""
    folder = tmp_path_factory.mktemp("console")
    with running(folder, "--workers", "1", ENROLL_FAILPOINTS=SLOW_BATCHES) as started:
        yield started


@pytest.fixture(scope="package")
def new_key(up: Stack) -> Callable[..., NewKey]:
    """Makes API keys by name and scopes."""

    def make(name: str, *words: str) -> NewKey:
        made = up.enroll("keys", "create", name, "--data-dir", up.data, "--json", *words)
        assert made.returncode == 0, made.stderr
        told = json.loads(made.stdout)
        return NewKey(told["id"], told["key"])

    return make


@pytest.fixture
def visitor(browser: Browser, up: Stack) -> Iterator[ConsoleUser]:
    """Somebody who has not logged in."""
    with console_user(browser, up.url) as user:
        yield user


@pytest.fixture
def admin(visitor: ConsoleUser, up: Stack) -> ConsoleUser:
    """Somebody with all scopes."""
    visitor.log_in(up.key())
    return visitor
