"""Batches that are parked are shown and set free."""

import pytest

from enrollment.storage.engine.sessions import sessions_for
from tests.integration.test_poison import spoil
from tests.support.in_process_service import World, row


@pytest.fixture
def world(enroll, tmp_path):
    enroll("db", "upgrade")
    sessions = sessions_for(f"sqlite:///{tmp_path}/data/enrollment.sqlite3")
    yield World(sessions)
    sessions.dispose()


def test_where_nothing_is_parked_nothing_is_listed(enroll, world):
    listed = enroll("batches", "list")

    assert (listed.exit_code, listed.stdout) == (0, "")


def test_what_is_parked_is_listed_and_set_free(enroll, world):
    file = world.send([row("ada"), row("bob")])
    number = spoil(world, file)
    world.work()

    line = enroll("batches", "list").stdout

    assert line.startswith(f"{number}\tsubmission {file}\t2 requests\t")
    assert "fails as a whole" in line
    assert enroll("batches", "retry", number).stdout == f"Freed: {number}.\n"
    assert enroll("batches", "list").stdout == ""
    assert world.waiting() == [number]


def test_all_are_set_free_at_once(enroll, world):
    numbers = [spoil(world, world.send([row("ada")])) for _ in range(2)]
    world.work()

    assert enroll("batches", "retry", "--all").exit_code == 0

    assert world.waiting() == numbers


@pytest.mark.parametrize("words", [[], ["1", "--all"], ["17"]])
def test_what_is_not_parked_or_not_said_is_wrong_usage(enroll, world, words):
    result = enroll("batches", "retry", *words)

    assert result.exit_code == 2
