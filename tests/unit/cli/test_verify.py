"""``enroll verify``: what it says, and the exit codes that scripts go by."""

import json
import shutil
from pathlib import Path

import pytest

from enrollment.domain.audit.violations import ViolationKind
from enrollment.storage.engine.sessions import sessions_for
from enrollment.storage.event_ids import event_id
from tests.support.corruptor import Corruptor
from tests.support.in_process_service import COURSE, World, request
from tests.support.scripted_server import unused_port


@pytest.fixture
def world(enroll, tmp_path):
    """The records behind the command."""
    enroll("db", "upgrade")
    sessions = sessions_for(f"sqlite:///{tmp_path}/data/enrollment.sqlite3")
    made = World(sessions)
    made.course(capacity=3)
    made.ask(*(request(user) for user in ("ada", "bob", "cat")))
    made.work()
    yield made
    sessions.dispose()


def test_records_that_are_right_are_counted(enroll, world):
    result = enroll("verify")

    assert result.exit_code == 0, result.output
    assert "events\t3" in result.stdout
    assert "No violations" in result.stdout


def test_what_is_wrong_is_told_with_its_story(enroll, world):
    Corruptor(world).sql("UPDATE course SET capacity = 1")
    Corruptor(world).sql("UPDATE enrollment SET mode = 'honor'")

    result = enroll("verify")

    assert result.exit_code == 6
    assert "fold.state\t3" in result.stdout
    assert f"1. fold.state: the enrollment of ada in {COURSE} is honor active" in result.stdout
    assert f"event {event_id(1, 0)} at 1 of the feed: created" in result.stdout
    assert f"note: {COURSE} has 3 of 1 seats taken" in result.stdout


def test_only_the_first_are_told(enroll, world):
    world.course(capacity=None)
    world.ask(*(request(f"learner{n}") for n in range(30)))
    world.work()
    Corruptor(world).sql("UPDATE enrollment SET mode = 'honor'")

    result = enroll("verify")

    assert "fold.state\t33" in result.stdout
    assert "20. fold.state" in result.stdout
    assert "21. fold.state" not in result.stdout


def test_a_monitor_is_given_one_object(enroll, world):
    sound = json.loads(enroll("verify", "--json").stdout)
    Corruptor(world).sql("UPDATE batch SET attempts = 2")
    Corruptor(world).outcomes(1, lambda kept: kept[:-1])

    result = enroll("verify", "--json")

    assert (sound["sound"], sound["number"], sound["violations"]) == (True, 0, [])
    assert sound["checked"]["events"] == 3
    assert result.exit_code == 6
    wrong = json.loads(result.stdout)
    assert wrong["number"] == sum(wrong["by_fault"].values()) == 3
    first = wrong["violations"][0]
    assert first["fault"] == "feed.unfounded"
    assert first["about"]["batch_id"] == 1
    assert first["about"]["username"] == "cat"
    assert {step["what"] for step in first["story"] if step["at"] is None} == {
        "batch 1 has 2 failed attempts"
    }


def test_records_that_are_not_there_are_wrong_usage(enroll, tmp_path):
    result = enroll("verify")

    assert result.exit_code == 2
    assert "enroll up" in result.stderr
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("words", [("verify",), ("keys", "list"), ("workers",)], ids=str)
def test_a_folder_without_a_database_has_no_answer(enroll, tmp_path, words):
    (tmp_path / "data").mkdir()

    result = enroll(*words)

    assert result.exit_code == 3
    assert "there is no" in result.stderr
    assert list((tmp_path / "data").iterdir()) == []


def test_tables_that_lack_migrations_are_told(enroll):
    enroll("db", "upgrade")
    enroll("db", "downgrade", "base", "--yes")

    result = enroll("verify")

    assert result.exit_code == 2
    assert "enroll db upgrade" in result.stderr


def test_every_fault_is_documented():
    page = (Path(__file__).parents[3] / "docs" / "operations.md").read_text()

    assert [fault for fault in ViolationKind if f"`{fault}`" not in page] == []


def test_no_room_for_the_copy_is_told(enroll, world, monkeypatch):
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1))

    result = enroll("verify")

    assert result.exit_code == 2
    assert "TMPDIR" in result.stderr


def test_a_database_that_is_away_is_code_three(enroll, monkeypatch):
    away = f"postgresql+psycopg://nobody@127.0.0.1:{unused_port()}/none"
    monkeypatch.setenv("ENROLL_DATABASE_URL", away)

    result = enroll("verify")

    assert result.exit_code == 3
    assert "does not answer" in result.stderr


def test_on_a_terminal_it_shows_how_far_it_is(enroll, world):
    result = enroll("verify", env={"FORCE_COLOR": "1", "TERM": "xterm"})

    assert result.exit_code == 0
    assert "rows verified" in result.stderr
    assert "│" in result.stdout
    assert "rows verified" not in enroll("verify").stderr
