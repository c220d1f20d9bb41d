"""Commands that become, or start, the service's processes."""

import os
import socket
import stat
import sys

import pytest
from sqlalchemy import text

from api_gateway.cli.exit_codes import CannotRun
from api_gateway.cli.output import program_name
from api_gateway.cli.up import data_dir_lock, embedded_redis, prepare_database
from enrollment.storage.engine.sessions import sessions_for
from tests.support.service_processes import LOCAL_EXTRA


@pytest.mark.parametrize(
    ("words", "arguments"),
    [
        (["worker"], []),
        (["worker", "--lanes", "bulk,upkeep"], ["--lanes", "bulk,upkeep"]),
        (["beat"], ["beat"]),
    ],
)
def test_the_other_door_is_another_program(enroll, monkeypatch, words, arguments):
    monkeypatch.setenv("ENROLL_DATABASE_URL", "sqlite:///x")
    became = []
    monkeypatch.setattr(os, "execv", lambda _path, command: became.append(command))

    enroll(*words)

    (command,) = became
    assert command[command.index("-m") :] == ["-m", "worker", *arguments]


def test_help_names_every_command(enroll):
    result = enroll("--help")

    for name in ("up", "gateway", "worker", "beat", "db", "keys", "tokens", "doctor", "courses"):
        assert f"\n  {name} " in result.stdout
    for name in ("submit", "status", "outcomes", "cancel"):
        assert f"\n  {name} " in result.stdout


def test_a_port_in_use_is_said_to_be(enroll):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        result = enroll("up", "--port", taken.getsockname()[1])

    assert result.exit_code == 2
    assert "--port" in result.stderr


@pytest.mark.parametrize("package", ["fakeredis", "lupa"])
def test_up_without_the_local_extra_says_what_to_install(enroll, tmp_path, monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)

    result = enroll("up", "--port", 0)

    assert result.exit_code == 2
    assert LOCAL_EXTRA in result.stderr
    assert "Traceback" not in result.output
    assert not (tmp_path / "data").exists()


def test_a_folder_in_use_is_said_to_be(enroll, tmp_path):
    with data_dir_lock(tmp_path / "data"):
        result = enroll("up", "--port", 0)

    assert result.exit_code == 2
    assert str(os.getpid()) in result.stderr
    assert stat.S_IMODE((tmp_path / "data").stat().st_mode) == 0o700


def test_the_admin_key_is_made_once_and_again_when_it_is_of_no_use(enroll, tmp_path, scopes_of):
    folder = tmp_path / "data"
    folder.mkdir()
    file = folder / "admin.key"
    environment = {"ENROLL_DATA_DIR": str(folder)}

    prepare_database(environment, folder)
    first = file.read_text()
    prepare_database(environment, folder)
    assert file.read_text() == first
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert scopes_of(first.strip()) == {"admin"}

    enroll("keys", "revoke", 1)
    prepare_database(environment, folder)
    assert file.read_text() != first


def test_a_named_file_of_the_signing_key_is_made_once_and_any_other_by_the_gateway(tmp_path):
    named = tmp_path / "named.key"
    environment = {"ENROLL_DATA_DIR": str(tmp_path), "ENROLL_SIGNING_KEY_FILE": str(named)}

    prepare_database(environment, tmp_path)
    first = named.read_text()
    prepare_database(environment, tmp_path)

    assert named.read_text() == first
    assert stat.S_IMODE(named.stat().st_mode) == 0o600
    assert not (tmp_path / "signing.key").exists()


def test_records_of_a_later_release_are_left_alone(tmp_path):
    environment = {"ENROLL_DATA_DIR": str(tmp_path)}
    prepare_database(environment, tmp_path)
    sessions = sessions_for(f"sqlite:///{tmp_path}/enrollment.sqlite3")
    with sessions.begin() as session:
        session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    sessions.dispose()

    with pytest.raises(CannotRun, match="later release"):
        prepare_database(environment, tmp_path)


def test_commands_find_the_embedded_redis_while_it_runs(enroll, tmp_path):
    enroll("db", "upgrade")
    with embedded_redis(tmp_path / "data"):
        result = enroll("doctor")
    assert "version 7.4.0 answers" in result.stdout
    assert "maxmemory-policy is noeviction" in result.stdout

    assert "starts an embedded Redis" in enroll("doctor").stdout


def test_a_port_in_use_is_said_to_be_by_a_gateway_too(enroll, monkeypatch):
    monkeypatch.setenv("ENROLL_DATABASE_URL", "sqlite:///x")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        result = enroll("gateway", "--port", taken.getsockname()[1])

    assert result.exit_code == 2
    assert "Address already in use. Choose another with --port." in result.stderr


@pytest.mark.parametrize("command", ["up", "gateway"])
def test_a_host_that_is_none_is_said_to_be(enroll, monkeypatch, command):
    monkeypatch.setenv("ENROLL_DATABASE_URL", "sqlite:///x")
    result = enroll(command, "--port", 0, "--host", "300.1.1.1")

    assert result.exit_code == 2
    assert "300.1.1.1 is not an address or a host name" in result.stderr
    assert "Usage:" not in result.stderr


def test_a_lane_that_is_none_is_said_to_be(enroll, monkeypatch):
    monkeypatch.setattr(os, "execv", lambda *_: pytest.fail("no worker may start"))

    result = enroll("worker", "--lanes", "bulk,foo")

    assert result.exit_code == 2
    assert "'foo' is not one of upkeep, interactive, submit, bulk" in result.stderr


@pytest.mark.parametrize("words", [("up", "--port", "0"), ("db", "upgrade")])
def test_a_data_folder_that_cannot_be_written_is_said_to_be(enroll, tmp_path, words):
    (tmp_path / "file").write_text("")

    result = enroll(*words, "--data-dir", tmp_path / "file" / "data")

    assert result.exit_code == 2
    assert "cannot be written: Not a directory" in result.stderr
    assert "Traceback" not in result.output


@pytest.mark.parametrize(
    ("called", "found", "expected"),
    [
        ("venv/bin/enroll", None, "venv/bin/enroll"),
        ("venv/bin/enroll", "other/enroll", "venv/bin/enroll"),
        ("venv/bin/enroll", "venv/bin/enroll", "enroll"),
        ("api_gateway/cli/__main__.py", "other/enroll", "enroll"),
        ("missing/enroll", None, "enroll"),
    ],
)
def test_the_commands_that_up_shows_can_be_copied(monkeypatch, tmp_path, called, found, expected):
    """`make run` starts a program in a `.venv`, where no shell looks for it."""
    for name in ("venv/bin/enroll", "other/enroll", "api_gateway/cli/__main__.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
        (tmp_path / name).chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", [called, "up"])
    monkeypatch.setenv("PATH", str((tmp_path / found).parent) if found else "")

    assert program_name() == expected
