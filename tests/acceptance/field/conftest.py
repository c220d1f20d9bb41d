"""One stack for all files from the field, with their courses and crosswalks."""

import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import pytest

from tests.support.field_client import FieldClient

STACKS = ["sqlite-1", "postgresql-3"]
#: Tests of what is not built yet: functions, or single cases of them.
PENDING = (
    "test_a_canvas_export_is_read_and_its_other_files_are_named",
    "test_backslashes_separate_folders",
    "test_what_systems_leave_in_a_folder_is_passed_over[['Thumbs.db'",
    "test_what_systems_leave_in_a_folder_is_passed_over[['desktop.ini']",
    "test_what_systems_leave_in_a_folder_is_passed_over[['~$x.xlsx']",
    "test_what_systems_leave_in_a_folder_is_passed_over[['README.txt']",
    "test_archives_of_streaming_writers_are_read[zip64 ending]",
    "test_an_archive_made_of_a_pipe_is_read",
    "test_it_is_refused_with_advice[CSV as",
    "test_it_is_refused_with_advice[CSV by",
    "test_it_is_refused_with_advice[CSV without",
    "test_it_is_refused_with_advice[NDJSON as JSON]",
    "test_it_is_refused_with_advice[a JSON",
    "test_it_is_refused_with_advice[a pretty JSON",
    "test_it_is_refused_with_advice[a workbook as ZIP]",
    "test_it_is_refused_with_advice[a workbook under",
    "test_it_is_refused_with_advice[gzip",
    "test_the_same_request_in_other_bytes_is_replayed",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if re.sub(rf"\[({'|'.join(STACKS)})-?", "[", item.name).startswith(PENDING):
            item.add_marker(pytest.mark.xfail(strict=True, reason="is not built yet"))


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
