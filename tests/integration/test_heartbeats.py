"""Workers and beat say that they live; who does not is named."""

import json
import socket
from datetime import timedelta
from uuid import uuid4

import pytest
from click.testing import CliRunner

from api_gateway.cli import main
from api_gateway.cli.checks.process_checks import check_processes
from api_gateway.status.health.process_states import ProcessStates, load_process_states
from enrollment.runtime.broker import QueueName
from enrollment.storage.engine.sessions import database_now
from enrollment.storage.upkeep import heartbeats
from enrollment.storage.upkeep.heartbeats import ProcessKind, ProcessRecord
from tests.support.service_processes import wait_until
from worker.background.heartbeat import describe_this_process, make_heartbeat

LANES = [queue.name.lower() for queue in QueueName]


def process(kind=ProcessKind.WORKER, name="one", lanes=LANES):
    return ProcessRecord(uuid4(), kind.value, name, "host", 7, "1.0", list(lanes))


BEAT = process(ProcessKind.BEAT, "beat", [])


@pytest.fixture
def seen(sessions):
    """Stores heartbeats, some of them seconds ago; returns the states."""

    def store(*records, batches=0, **ago):
        with sessions.begin() as session:
            now = database_now(session) - timedelta(**ago)
            for each in records:
                heartbeats.record(session, each, batches=batches, now=now)
        return states(sessions)

    return store


def states(sessions):
    with sessions.read() as session:
        return load_process_states(session)


def test_a_process_is_seen_again_and_keeps_its_beginning(seen):
    worker = process()
    (first,) = seen(worker, seconds=9).seen
    (second,) = seen(worker, batches=5).seen

    assert second.process == worker
    assert second.since == first.since
    assert second.last_seen > first.last_seen
    assert second.batches == 5


def test_processes_that_live_are_no_finding(seen):
    found = seen(process(), BEAT)

    assert found.findings() == []
    assert len(found.live_workers) == 1
    assert found.beat_age < 5


def test_a_dead_one_is_named_within_30_seconds_and_forgotten_later(seen):
    seen(process(name="gone"), seconds=26)
    (finding,) = seen(process(), BEAT).findings()
    assert finding.startswith("worker gone on host is dead: it was last seen at ")

    seen(process(name="long gone"), minutes=11)
    assert [each.process.name for each in seen(BEAT).seen] == ["gone", "one", "beat"]


@pytest.mark.parametrize(
    ("alive", "beginnings"),
    [
        ([], ["no worker runs", "beat does not run"]),
        ([process()], ["beat does not run"]),
        ([BEAT], ["no worker runs"]),
        (
            [process(lanes=["interactive", "upkeep"]), BEAT],
            ["no worker serves the lane bulk", "no worker serves the lane submit"],
        ),
    ],
)
def test_each_lack_is_named(seen, alive, beginnings):
    found = seen(*alive).findings()
    assert len(found) == len(beginnings)
    assert all(map(str.startswith, found, beginnings))


def test_a_thread_says_that_its_process_lives_and_at_its_end_that_it_does_not(sessions):
    record = describe_this_process(ProcessKind.WORKER, "me", ["bulk"])
    thread = make_heartbeat(sessions, record)
    thread.start()
    try:
        wait_until(lambda: [each.process for each in states(sessions).seen] == [record])
    finally:
        thread.stop()
    assert states(sessions).seen == []


def test_doctor_finds_dead_ones(seen, sessions):
    def marks():
        return [each.mark for each in check_processes(states(sessions))]

    assert marks() == ["note"]
    seen(process(), BEAT)
    assert marks() == ["ok"]
    seen(process(name="gone"), seconds=26)
    assert marks() == ["wrong"]


def test_enroll_workers_lists_them(seen, sessions, monkeypatch):
    monkeypatch.setenv(
        "ENROLL_DATABASE_URL", sessions.engine.url.render_as_string(hide_password=False)
    )
    seen(process(name="gone"), seconds=40)
    seen(process(), BEAT, batches=3)

    listed = CliRunner().invoke(main, ["workers"])
    assert listed.exit_code == 0, listed.output
    lines = [line.split("\t") for line in listed.stdout.splitlines()]
    assert [line[:4] for line in lines] == [
        ["dead", "worker", "gone", "host:7"],
        ["alive", "worker", "one", "host:7"],
        ["alive", "beat", "beat", "host:7"],
    ]
    shown = json.loads(CliRunner().invoke(main, ["workers", "--json"]).stdout)["processes"]
    assert [(each["name"], each["state"], each["batches_done"]) for each in shown] == [
        ("gone", "dead", 0),
        ("one", "alive", 3),
        ("beat", "alive", 3),
    ]
    assert shown[1]["lanes"] == LANES


def test_without_processes_there_is_no_age():
    assert ProcessStates(None, ()).beat_age is None


def test_a_container_is_asked_for_its_own_process(seen, sessions, monkeypatch):
    monkeypatch.setenv(
        "ENROLL_DATABASE_URL", sessions.engine.url.render_as_string(hide_password=False)
    )
    here = socket.gethostname()
    seen(process())
    elsewhere = CliRunner().invoke(main, ["workers", "--here"])
    seen(process(name="hung")._replace(host=here), seconds=40)
    hung = CliRunner().invoke(main, ["workers", "--here"])
    seen(process(name="next")._replace(host=here))
    alive = CliRunner().invoke(main, ["workers", "--here"])

    assert (elsewhere.exit_code, hung.exit_code, alive.exit_code) == (6, 6, 0)
    assert [line.split("\t")[2] for line in alive.stdout.splitlines()] == ["hung", "next"]
