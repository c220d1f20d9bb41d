"""The examples of docs/operations.md are what the commands print."""

import io
import json
import logging
import re
import shlex
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
import structlog

from api_gateway.resources import health
from enrollment.runtime import failpoints, logs
from enrollment.runtime.circuit_breaker import CircuitBreaker, Dependency
from enrollment.runtime.process_record import log_ready
from enrollment.runtime.settings import from_env
from enrollment.storage import migrate
from enrollment.storage.engine.sessions import sessions_for
from tests.support.documented import DOCS, blocks, examples, normalised, output_of
from tests.support.gateway import Gateway, pretend_to_run
from tests.support.in_process_service import World, request, row
from tests.support.scripted_server import Answer
from tests.support.servers import postgres_server

PAGE = "operations.md"


@pytest.fixture
def world(enroll, tmp_path):
    enroll("db", "upgrade")
    sessions = sessions_for(f"sqlite:///{tmp_path}/data/enrollment.sqlite3")
    yield World(sessions)
    sessions.dispose()


@pytest.fixture
def armed():
    """Arms fail points; what is raised is logged in a line, not with every frame."""
    structlog.configure(processors=[structlog.processors.KeyValueRenderer()])
    yield failpoints.arm
    failpoints.arm("")
    structlog.reset_defaults()


@pytest.fixture
def logged():
    """What this process logs, in the form of the gateway."""
    root = logging.getLogger()
    before = root.handlers[:], root.level
    stream = io.StringIO()
    logs.configure("info", process="gateway", stream=stream)
    yield stream
    logging.captureWarnings(capture=False)
    root.handlers[:], root.level = before
    structlog.reset_defaults()


def run(enroll, command):
    """The output of a command as the page writes it."""
    _, *words = shlex.split(command)
    return enroll(*words).stdout


def assert_shown(enroll, command, place=0):
    """What the page shows for a command is what it prints, but for ids, times and numbers."""
    assert normalised(run(enroll, command)) == normalised(examples(PAGE)[command][place])


def test_migrations_are_upgraded_as_shown(enroll):
    shown = examples(PAGE)

    for command, place in (
        ("enroll db check", 0),
        ("enroll db upgrade", 0),
        ("enroll db check", 1),
    ):
        assert run(enroll, command) == shown[command][place]


def test_tables_that_are_not_those_of_the_release_exit_with_the_code_that_is_named(enroll):
    named = re.search(r"`check` exits with (\d+)", (DOCS / PAGE).read_text())

    assert enroll("db", "check").exit_code == int(named[1])


def test_keys_are_made_and_listed_as_shown(enroll):
    enroll("db", "upgrade")
    enroll("keys", "create", "admin", "--scope", "admin")

    assert_shown(enroll, "enroll keys create sis-nightly --scope enroll --scope read")
    assert_shown(enroll, "enroll keys list")


def test_parked_batches_are_listed_and_freed_as_shown(enroll, world, armed):
    world.course()
    armed("work.judging=raise@^poison")
    number = world.batch_ids(world.send([row(f"poison{n}") for n in range(4)]))[0]
    world.work()

    assert_shown(enroll, "enroll batches list")
    freed = run(enroll, f"enroll batches retry {number}")
    assert normalised(freed) == normalised(output_of(PAGE, "enroll batches retry"))


def test_an_audit_prints_what_is_shown(enroll, world):
    world.course()
    world.ask(request("ada"))
    world.work()

    assert_shown(enroll, "enroll verify")


def test_an_audit_as_json_has_the_members_that_are_named(enroll, world):
    sentence = re.search(r"`--json` prints.*?\n\n", (DOCS / PAGE).read_text(), re.DOTALL)[0]

    named = set(re.findall(r"`(\w+)`", sentence))

    assert named == set(json.loads(enroll("verify", "--json").stdout))


def test_the_doctor_prints_what_is_shown(enroll, service, redis_url, monkeypatch):
    service.answers["GET", "/readyz"] = [Answer(body={"status": "ok"})]
    with postgres_server(durable=True, own=True) as url:
        migrate.upgrade(url)
        pretend_to_run(sessions_for(url))
        monkeypatch.setenv("ENROLL_DATABASE_URL", url)
        monkeypatch.setenv("ENROLL_REDIS_URL", redis_url)
        monkeypatch.setenv("ENROLL_URL", service.url)

        printed = enroll("doctor").stdout

    shown = output_of(PAGE, "enroll doctor")
    assert normalised(printed) == normalised(shown)
    assert f"ok    tables: at {migrate.head()}\n" in shown


def test_readiness_is_answered_as_shown(tmp_path, redis_url):
    url = f"sqlite:///{tmp_path / 'x.sqlite3'}"
    migrate.upgrade(url)
    gateway = Gateway(url, redis_url=redis_url, accept_data_loss="false")

    ready = gateway.get("/readyz").json
    gateway.close()

    assert ready == json.loads(output_of(PAGE, "curl http://127.0.0.1:8072/readyz"))


def test_every_finding_of_the_health_check_is_on_the_page():
    page = (DOCS / PAGE).read_text()
    source = Path(health.__file__).read_text()

    findings = re.findall(r'"(the \w+ [a-z ]+|Redis is not reachable: [a-z]+ \w+)', source)

    assert len(findings) > 5
    assert [finding for finding in findings if finding.strip() not in page] == []


def test_a_log_record_has_the_members_that_are_shown(logged):
    shown = next(block for block in blocks(PAGE) if block.startswith('{"event": "queue.'))

    CircuitBreaker(Dependency.QUEUE).record_failure(ConnectionError("connection refused"))

    record, expected = json.loads(logged.getvalue()), json.loads(shown)
    changing = {"at": "", "logger": ""}
    assert list(record) == list(expected)
    assert record | changing == expected | changing


def test_the_record_of_a_ready_process_has_the_members_that_are_shown(logged, monkeypatch):
    shown = next(block for block in blocks(PAGE) if block.startswith('{"event": "process.'))
    expected = json.loads(shown)
    monkeypatch.setenv("ENROLL_DATABASE_URL", "postgresql://u:p@db.example.org:5432/enroll")
    monkeypatch.setenv("ENROLL_REDIS_URL", "redis://:p@redis.example.org:6379/0")

    log_ready(from_env(), lanes=expected["lanes"])

    record = json.loads(logged.getvalue())
    changing = {"at": "", "logger": "", "version": "", "process": ""}
    assert list(record) == list(expected)
    assert record | changing == expected | changing


def test_a_running_sqlite_is_copied_as_shown(world, tmp_path):
    (command,) = (given for given in examples(PAGE) if given.startswith("python3"))
    shutil.move(tmp_path / "data", tmp_path / ".enroll")

    subprocess.run([sys.executable, *shlex.split(command)[1:]], cwd=tmp_path, check=True)

    copy = sqlite3.connect(tmp_path / "backup.sqlite3")
    assert copy.execute("SELECT count(*) FROM submission").fetchone() == (0,)
    copy.close()
