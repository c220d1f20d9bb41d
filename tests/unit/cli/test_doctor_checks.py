"""The doctor's look at the server, the clock, the disk, and at the names of settings."""

import json
import socketserver
from datetime import timedelta
from threading import Thread
from types import SimpleNamespace

import pytest

from api_gateway.cli import doctor_checks
from api_gateway.cli.checks.gateway_check import check_gateway
from api_gateway.cli.doctor_checks import check_disk, check_redis, check_server
from enrollment.runtime.setting_names import VARIABLES
from enrollment.runtime.settings import from_env
from enrollment.storage.engine.server_facts import ServerFacts, load_server_facts
from enrollment.storage.engine.sessions import sessions_for
from tests.support.scripted_server import Answer, unused_port
from tests.support.servers import LOOPBACK

WELL = ServerFacts(17, "17.2", 97, 5, timedelta(seconds=0.1))


def marks(**changed):
    results = check_server(WELL._replace(**changed))
    return {result.subject: (result.mark, result.message) for result in results}


def test_a_server_in_order_is_said_to_be():
    assert marks() == {
        "server": ("ok", "PostgreSQL 17.2"),
        "connections": ("ok", "5 of 97 are open"),
        "clock": ("ok", "agrees with that of the database"),
    }


@pytest.mark.parametrize(
    ("changed", "subject", "mark", "message"),
    [
        ({"major": 13, "version": "13.9"}, "server", "wrong", "PostgreSQL 13.9"),
        ({"connections": 88}, "connections", "note", "88 of 97 are open"),
        (
            {"clock_offset": timedelta(seconds=-2.5)},
            "clock",
            "note",
            "that of the database is 2.5 s behind",
        ),
        (
            {"clock_offset": timedelta(hours=1)},
            "clock",
            "note",
            "that of the database is 3600.0 s ahead",
        ),
    ],
)
def test_what_is_not_in_order_has_advice(changed, subject, mark, message):
    assert marks(**changed)[subject] == (mark, message)
    for result in check_server(WELL._replace(**changed)):
        assert bool(result.advice) == (result.mark != "ok")


def test_a_server_says_these_things_about_itself(postgres_url):
    sessions = sessions_for(postgres_url, pool_size=1)
    with sessions.read() as session:
        facts = load_server_facts(session)
    sessions.dispose()

    assert facts.version.startswith(str(facts.major))
    assert 1 <= facts.connections < facts.max_connections
    assert abs(facts.clock_offset) < timedelta(seconds=2)  # one machine has one clock


@pytest.mark.parametrize(
    ("free", "expected"),
    [(2_000_000_000, ["ok", "ok"]), (999_999_999, ["note", "note"])],
)
def test_disks_that_are_nearly_full_are_noted(monkeypatch, tmp_path, free, expected):
    monkeypatch.setattr(
        doctor_checks.shutil, "disk_usage", lambda _folder: SimpleNamespace(free=free)
    )

    results = list(check_disk(from_env({"ENROLL_DATA_DIR": str(tmp_path)})))

    assert [result.mark for result in results] == expected
    assert [bool(result.advice) for result in results] == [mark == "note" for mark in expected]


def test_only_what_the_environment_names_is_set(enroll, monkeypatch):
    monkeypatch.setenv("ENROLL_LOG_LEVEL", "info")
    monkeypatch.setenv("ENROLL_DATABSE_URL", "x")

    lines = enroll("doctor", "--settings", env={"ENROLL_DATA_DIR": None}).stdout.splitlines()

    assert [line.split()[1] for line in lines if line.startswith("set ")] == ["ENROLL_LOG_LEVEL"]
    assert len(lines) == len(VARIABLES) + 1
    assert lines[-1].split()[:2] == ["unknown", "ENROLL_DATABSE_URL"]
    assert "did you mean ENROLL_DATABASE_URL?" in lines[-1]
    printed = json.loads(enroll("doctor", "--settings", "--json").stdout)
    assert printed["unknown"] == ["ENROLL_DATABSE_URL"]


def test_without_a_database_the_doctor_says_what_production_needs(enroll):
    result = enroll("doctor")

    assert result.exit_code == 0
    assert "note  settings: ENROLL_DATABASE_URL is not set" in result.stdout


class _RefusesOptions(socketserver.BaseRequestHandler):
    """Refuses each client as PgBouncer does one with options that it was not told to ignore."""

    def handle(self):
        self.request.recv(10_000)
        message = b"unsupported startup parameter in options: statement_timeout"
        fields = b"SFATAL\0C08P01\0M" + message + b"\0\0"
        self.request.sendall(b"E" + (len(fields) + 4).to_bytes(4) + fields)


def test_a_pooler_that_refuses_our_options_has_its_own_advice(enroll, monkeypatch):
    with socketserver.ThreadingTCPServer((LOOPBACK, 0), _RefusesOptions) as server:
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        where = f"{LOOPBACK}:{server.server_address[1]}"
        plain = "sslmode=disable&gssencmode=disable"
        monkeypatch.setenv("ENROLL_DATABASE_URL", f"postgresql://enroll@{where}/enroll?{plain}")
        result = enroll("doctor", "--url", f"http://{LOOPBACK}:{unused_port()}")
        server.shutdown()
        thread.join()

    assert result.exit_code == 6
    assert "ignore_startup_parameters = options" in result.stdout


def test_sentinels_that_do_not_answer_are_said_without_their_clients():
    hosts = f"{LOOPBACK}:{unused_port()},{LOOPBACK}:{unused_port()}"
    found = list(check_redis(f"redis+sentinel://{hosts}/primary/0", is_named=True))

    assert [(each.mark, each.subject) for each in found] == [("wrong", "redis")]
    assert found[0].message.startswith("No master found for 'primary' : ")
    assert "ConnectionError" in found[0].message or "Error 111" in found[0].message
    assert "<redis" not in found[0].message


DEGRADED = {"status": "degraded", "workers": 2, "beat_age_seconds": 3}
UNREADY = {"status": "unready", "findings": ["the database does not answer"]}


@pytest.mark.parametrize(
    ("status", "body", "mark", "message"),
    [
        (200, {"status": "ok", "findings": []}, "ok", "is ready"),
        (200, DEGRADED | {"findings": ["a", "b"]}, "note", "is degraded: a; b"),
        (
            200,
            DEGRADED | {"findings": ["none runs"], "workers": 0},
            "wrong",
            "is degraded: none runs",
        ),
        (
            200,
            DEGRADED | {"findings": ["no beat"], "beat_age_seconds": None},
            "wrong",
            "is degraded: no beat",
        ),
        (503, UNREADY, "wrong", "is not ready: the database does not answer"),
        (502, b"<html>", "wrong", "is not ready: <html>"),
        (200, b"[1]", "note", "is degraded: [1]"),
    ],
)
def test_what_a_gateway_finds_is_said_in_sentences(service, status, body, mark, message):
    """Also that nothing processes what it accepts: then the doctor's exit code is 6."""
    service.answers["GET", "/readyz"] = [Answer(status, body)]

    result = check_gateway(service.url, is_named=True)

    assert (result.mark, result.message) == (mark, f"{service.url} {message}")
    assert bool(result.advice) == (mark != "ok")


def test_the_path_of_the_api_may_follow_the_url_of_a_gateway(enroll, service):
    service.answers["GET", "/readyz"] = [Answer(200, {"status": "ok"})]

    result = enroll("doctor", "--url", f"{service.url}/api/enrollment/v1/")

    assert f"ok    gateway: {service.url}/api/enrollment/v1/ is ready" in result.stdout
