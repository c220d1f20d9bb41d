"""Ordinary mistakes end with a sentence and a code, errors of the program with code 70."""

import os

import click
import pytest
from click.testing import CliRunner

from api_gateway.cli import main
from api_gateway.cli.remote.submit import FORMAT_CHOICES
from api_gateway.cli.run import LANE_CHOICES
from enrollment.runtime.broker import QueueName
from schemas.files.formats.detect import FORMAT_NAMES
from tests.support.scripted_server import COUNTS, DONE, ID, QUEUED, Answer


def leaves(group, path=()):
    """Every command that is not a group, with the words that lead to it."""
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from leaves(command, (*path, name))
        elif not command.hidden:
            yield (*path, name), command


COMMANDS = dict(leaves(main))
PROCESSES = {("up",), ("gateway",), ("worker",), ("beat",)}


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_help_shows_examples_and_the_variables_of_its_options(words):
    text = CliRunner().invoke(main, [*words, "--help"]).stdout

    assert (
        f"Examples:\n    enroll {' '.join(words)}" in text or f"| enroll {' '.join(words)}" in text
    )
    for option in COMMANDS[words].params:
        if option.envvar:
            assert f"env var: {option.envvar}" in " ".join(text.split())


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_help_names_the_variable_that_finds_the_database_or_the_service(words):
    text = CliRunner().invoke(main, [*words, "--help"]).stdout

    is_client = any(option.name == "key" for option in COMMANDS[words].params)
    assert ("ENROLL_URL" if is_client else "ENROLL_DATABASE_URL") in text


def test_the_help_of_worker_names_the_lanes():
    assert tuple(queue.name.lower() for queue in QueueName) == LANE_CHOICES


@pytest.mark.parametrize("words", sorted(set(COMMANDS) - PROCESSES), ids=" ".join)
def test_every_command_can_print_json(words):
    assert any(option.name == "as_json" for option in COMMANDS[words].params)


def test_the_help_of_submit_names_the_formats():
    assert FORMAT_CHOICES == FORMAT_NAMES


@pytest.mark.parametrize("option", ["--failed-to", "-o"])
def test_a_file_that_cannot_be_written_is_refused_before_anything_is_sent(
    enroll, service, rows, tmp_path, option
):
    words = ("submit", rows) if option == "--failed-to" else ("outcomes", ID)

    result = enroll(*words, option, tmp_path / "nodir" / "x.csv", "--url", service.url)

    assert result.exit_code == 2
    assert "cannot be written" in result.stderr
    assert service.heard == []


@pytest.mark.parametrize("link", [False, True], ids=["same name", "link"])
def test_failed_rows_do_not_replace_the_file_that_is_submitted(
    enroll, service, rows, tmp_path, link
):
    content = rows.read_bytes()
    target = tmp_path / "link.csv" if link else rows
    if link:
        target.symlink_to(rows)

    result = enroll("submit", rows, "--failed-to", target, "--url", service.url)

    assert result.exit_code == 2
    assert "name another file" in result.stderr
    assert rows.read_bytes() == content
    assert service.heard == []


def test_a_pipe_is_written_to_and_stays_a_pipe(enroll, service, tmp_path):
    service.on("GET", f"/submissions/{ID}/outcomes", Answer(200, b"user,outcome\n"))
    pipe = tmp_path / "pipe.csv"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)

    result = enroll("outcomes", ID, "-o", pipe, "--url", service.url)
    read = os.read(reader, 100)
    os.close(reader)

    assert result.exit_code == 0
    assert pipe.is_fifo()
    assert read == b"user,outcome\n"


def test_an_error_of_the_program_is_code_seventy_without_a_traceback(enroll, service):
    service.on("GET", f"/submissions/{ID}", Answer(200, {"state": "done"}))

    result = enroll("status", ID, "--url", service.url)

    assert result.exit_code == 70
    assert "Unexpected KeyError: 'counts'" in result.stderr
    assert "report it" in result.stderr
    assert "Traceback" not in result.output


def test_its_traceback_is_shown_to_who_debugs(enroll, service, monkeypatch):
    monkeypatch.setenv("ENROLL_LOG_LEVEL", "debug")
    service.on("GET", f"/submissions/{ID}", Answer(200, {"state": "done"}))

    assert "Traceback" in enroll("status", ID, "--url", service.url).stderr


def interrupt(*_args, **_more):
    raise KeyboardInterrupt


def test_ctrl_c_while_waiting_says_how_to_go_on(enroll, service, rows, monkeypatch):
    service.on("POST", "/submissions", Answer(202, QUEUED))
    service.on("GET", f"/submissions/{ID}", Answer(200, QUEUED))
    monkeypatch.setattr("api_gateway.cli.remote.waiting.time.sleep", interrupt)

    result = enroll("submit", rows, "--url", service.url)

    assert result.exit_code == 130
    assert result.stderr.splitlines()[-3:] == [
        f"Submission {ID} goes on.",
        f"Follow it: enroll status {ID} --watch --url {service.url}",
        f"Stop it: enroll cancel {ID} --url {service.url}",
    ]


def test_the_command_for_the_failed_rows_calls_the_same_service(enroll, service, rows):
    counts = {**COUNTS, "enrolled": 0, "refused": 3}
    service.on("POST", "/submissions", Answer(202, QUEUED))
    service.on("GET", f"/submissions/{ID}", Answer(200, {**DONE, "counts": counts}))

    result = enroll("submit", rows, "--url", service.url, "--key", "enr_secret")

    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1] == (
        f"The rows that failed: enroll outcomes {ID} --outcome refused,invalid,cancelled "
        f"-o failed.csv --url {service.url}"
    )


def test_ctrl_c_while_sending_says_where_to_look(enroll, rows, monkeypatch):
    monkeypatch.setattr("api_gateway.cli.remote.client.Service.send", interrupt)

    result = enroll("submit", rows)

    assert result.exit_code == 130
    assert "enroll submissions list" in result.stderr


def test_ctrl_c_anywhere_else_is_the_same_code(enroll, monkeypatch):
    monkeypatch.setattr("api_gateway.cli.remote.client.Service.get", interrupt)

    result = enroll("courses", "list")

    assert (result.exit_code, result.stderr) == (130, "\nInterrupted.\n")


def test_an_error_of_the_system_is_a_sentence(enroll, tmp_path):
    result = enroll("db", "upgrade", "--data-dir", tmp_path / ("x" * 300))

    assert result.exit_code == 2
    assert "File name too long" in result.stderr


@pytest.mark.parametrize(
    "name", ["", " ", "a\tb", "a\nb", "a b", "SIS", "ü", "a/b", "a\x1b[31m", "a" * 65, "edx", "a\n"]
)
def test_a_key_has_a_name(enroll, name):
    enroll("db", "upgrade")

    result = enroll("keys", "create", name, "--scope", "read")

    assert result.exit_code == 2
    assert "the name of" in result.stderr
    assert "\x1b" not in result.stderr
    assert enroll("keys", "list").stdout == ""


@pytest.mark.parametrize("name", ["a", "sis-nightly", "a.b_c-9", "a" * 64])
def test_a_name_of_plain_letters_is_taken(enroll, name):
    enroll("db", "upgrade")

    assert enroll("keys", "create", name, "--scope", "read").exit_code == 0
