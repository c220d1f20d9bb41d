"""One stack for all files from the field, with their courses and crosswalks."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import pytest

from tests.support.field_client import FieldClient

STACKS = ["sqlite-1", "postgresql-3"]


@pytest.fixture(scope="package", params=STACKS)
def field_stack(
    request: pytest.FixtureRequest, start_whole: Callable[[str], AbstractContextManager[Any]]
) -> Iterator[Any]:
    """A stack with the courses and the crosswalks."""
    with start_whole(request.param) as whole:
        with whole.up.http() as http:
            FieldClient(http).set_up()
        yield whole.up


@pytest.fixture
def field(field_stack) -> Iterator[FieldClient]:
    """A client with a word of its own."""
    with field_stack.http() as http:
        yield FieldClient(http)
