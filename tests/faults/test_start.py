"""No process starts on a database that can lose commits, unless it is configured to."""

import json
import subprocess

import pytest
from sqlalchemy import text

from enrollment.storage import migrate
from enrollment.storage.engine.sessions import sessions_for
from tests.support.gateway import Gateway
from tests.support.outage_client import OutageClient, assert_unavailable
from tests.support.servers import free_port, postgres_process
from tests.support.service_processes import ENROLL, Running, bare, is_ready, wait_until

NO_REDIS = "redis://127.0.0.1:1/0"
ACCEPT = "ENROLL_ACCEPT_DATA_LOSS"


@pytest.fixture
def environment(postgres_url, tmp_path):
    """Settings of a process whose PostgreSQL does not flush, like that of the tests."""
    migrate.upgrade(postgres_url)
    return bare(
        ENROLL_DATABASE_URL=postgres_url,
        ENROLL_REDIS_URL=NO_REDIS,
        ENROLL_DATA_DIR=str(tmp_path / "data"),
    )


def strict(environment):
    return {name: value for name, value in environment.items() if name != ACCEPT}


def records_of(running):
    lines = [line for line in running.log().splitlines() if line.startswith("{")]
    return [json.loads(line) for line in lines]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "status"),
    [
        (["gateway", "--port", "0"], 3),
        (["worker"], 3),
        (["beat"], 3),
        (["up", "--port", "0"], 2),
    ],
    ids=lambda given: given[0] if isinstance(given, list) else "",
)
def test_a_process_does_not_start_on_what_loses_commits_and_says_why(
    tmp_path, environment, words, status
):
    process = Running(tmp_path, words, strict(environment)).start()
    wait_until(lambda: process.process.poll() is not None, process.log)

    assert process.process.returncode == status
    assert "set fsync=on: accepted requests can be lost in a power cut" in process.log()
    assert f"set {ACCEPT}=true" in process.log()


@pytest.mark.slow
@pytest.mark.parametrize("words", [["gateway", "--port", "0"], ["worker"], ["beat"]], ids=" ".join)
def test_a_process_does_not_start_on_the_tables_of_a_later_release(
    tmp_path, environment, postgres_url, words
):
    sessions = sessions_for(postgres_url, pool_size=1)
    with sessions.begin() as session:
        session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    sessions.dispose()
    process = Running(tmp_path, words, environment).start()
    wait_until(lambda: process.process.poll() is not None, process.log)

    assert process.process.returncode == 3
    assert "its tables are at 9999" in process.log()
    assert "process.ready" not in process.log()


@pytest.mark.slow
def test_a_process_that_is_told_to_starts_and_says_it_loudly(tmp_path, environment):
    port = free_port()
    gateway = Running(tmp_path, ["gateway", "--port", port], environment).start()
    url = f"http://127.0.0.1:{port}"
    wait_until(lambda: is_ready(url), gateway.log)
    loud = [one for one in records_of(gateway) if one["event"] == "records.not_durable"]
    doctor = subprocess.run(
        [*ENROLL, "doctor", "--url", url],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    gateway.bury()

    assert {one["level"] for one in loud} == {"error"}
    assert any("fsync is off" in one["because"] for one in loud)
    assert doctor.returncode == 6
    assert "WRONG durability: fsync is off" in doctor.stdout
    assert f"note  settings: {ACCEPT} is set" in doctor.stdout
    assert "commits can be lost: fsync is off" in doctor.stdout


def test_a_database_that_comes_late_is_judged_when_it_comes_and_again_when_it_is_mended():
    port = free_port()
    url = f"postgresql+psycopg://postgres@127.0.0.1:{port}/postgres"
    gateway = Gateway(url, accept_data_loss="false")
    try:
        assert "does not answer" in finding(gateway)
        with postgres_process(port=port) as server:
            migrate.upgrade(url)
            assert "fsync is off" in finding(gateway)
            asked = {"course_details": {"course_id": "course-v1:a+b+c"}, "user": "ada"}
            assert_unavailable(gateway.post("enrollment", gateway.edx, json=asked))

            server.stop()
            server.durable = True
            server.start()
            desk = OutageClient(gateway)
            assert desk.is_ready
            assert desk.ask().status_code == 202
            assert gateway.get("/readyz").json["database"] == "ok"
            desk.settle()
    finally:
        gateway.close()


def finding(gateway):
    ready = gateway.get("/readyz")
    assert ready.status_code == 503
    return ready.json["findings"][0]
