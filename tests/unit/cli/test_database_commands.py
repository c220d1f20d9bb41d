"""Commands that work on the records, and the doctor."""

import json

import pytest

from enrollment.runtime.settings import VARIABLES
from tests.support.scripted_server import unused_port


def test_the_tables_are_made_checked_and_removed(enroll, tmp_path):
    assert enroll("db", "check").exit_code == 6
    assert not (tmp_path / "data").exists()
    assert "Upgraded: 0001" in enroll("db", "upgrade").stdout
    assert enroll("db", "upgrade").stdout == "Nothing to upgrade.\n"
    assert enroll("db", "check").exit_code == 0
    assert enroll("db", "downgrade", "nowhere", "--yes").exit_code == 2
    assert enroll("db", "downgrade", "base", input="n\n").exit_code == 130
    assert enroll("db", "downgrade", "base", "--yes").exit_code == 0
    assert enroll("db", "check").exit_code == 6


def test_keys_are_made_listed_and_revoked(enroll, scopes_of):
    enroll("db", "upgrade")

    made = enroll("keys", "create", "sis", "--scope", "enroll", "--scope", "read")
    text = made.stdout.splitlines()[-1]

    assert scopes_of(text) == {"enroll", "read"}
    listed = enroll("keys", "list").stdout
    assert "sis\tenroll,read" in listed
    assert text not in listed
    assert enroll("keys", "revoke", 1).exit_code == 0
    assert scopes_of(text) is None
    assert "revoked" in enroll("keys", "list").stdout
    assert enroll("keys", "revoke", 1).exit_code == 2


def test_a_name_that_has_a_key_gets_another_only_to_rotate(enroll, scopes_of):
    enroll("db", "upgrade")
    create = ("keys", "create", "sis", "--scope", "enroll")
    first = enroll(*create).stdout.splitlines()[-1]

    again = enroll(*create)
    more = enroll(*create, "--scope", "read", "--rotate")
    second = enroll(*create, "--rotate")

    assert (again.exit_code, more.exit_code, second.exit_code) == (2, 2, 0)
    assert "--rotate" in again.stderr
    assert "enroll" in more.stderr
    assert scopes_of(first) == scopes_of(second.stdout.splitlines()[-1]) == {"enroll"}
    assert len(enroll("keys", "list").stdout.splitlines()) == 2


def test_a_name_whose_key_is_revoked_is_free_again(enroll):
    enroll("db", "upgrade")
    create = ("keys", "create", "sis", "--scope")
    enroll(*create, "enroll")
    enroll("keys", "revoke", 1)

    assert enroll(*create, "read").exit_code == 0


def test_a_scope_that_is_none_is_wrong_usage(enroll):
    assert enroll("keys", "create", "sis", "--scope", "all").exit_code == 2


def test_a_token_is_the_last_line(enroll):
    enroll("db", "upgrade")

    result = enroll("tokens", "create", "ada", "--staff", "--email", "ada@example.org")

    assert result.exit_code == 0
    assert result.stdout.splitlines()[-1].count(".") == 2


def test_a_token_does_not_last_for_ever(enroll):
    enroll("db", "upgrade")

    assert enroll("tokens", "create", "ada", "--minutes", 10**6).exit_code == 2


@pytest.mark.parametrize("words", [["keys", "list"], ["tokens", "create", "ada"]])
def test_records_that_are_not_there_are_not_made_by_looking(enroll, tmp_path, words):
    result = enroll(*words)

    assert result.exit_code == 2
    assert "enroll up" in result.stderr
    assert not (tmp_path / "data").exists()


def test_a_database_that_is_away_is_code_three(enroll, monkeypatch):
    away = f"postgresql://nobody@127.0.0.1:{unused_port()}/none"
    monkeypatch.setenv("ENROLL_DATABASE_URL", away)

    result = enroll("keys", "list")

    assert result.exit_code == 3
    assert "does not answer" in result.stderr


def test_settings_that_cannot_be_used_are_wrong_usage(enroll, monkeypatch):
    monkeypatch.setenv("ENROLL_DATABASE_URL", "mysql://x")

    result = enroll("db", "check")

    assert result.exit_code == 2
    assert "ENROLL_DATABASE_URL" in result.stderr


def test_the_settings_are_listed_without_their_values(enroll, monkeypatch):
    monkeypatch.setenv("ENROLL_EDX_API_KEY", "hunter2")

    result = enroll("doctor", "--settings")

    lines = result.stdout.splitlines()
    assert len(lines) == len(VARIABLES)
    assert [line.startswith("set") for line in lines if "ENROLL_EDX_API_KEY" in line] == [True]
    assert "hunter2" not in result.stdout


def test_what_is_merely_not_started_is_not_wrong(enroll, monkeypatch):
    monkeypatch.setenv("ENROLL_LOG_LEVEL", "info")

    result = enroll("doctor")

    assert result.exit_code == 0, result.output
    assert "does not exist yet" in result.stdout
    assert "starts an embedded Redis" in result.stdout


def test_the_doctor_says_what_is_wrong(enroll, monkeypatch):
    enroll("db", "upgrade")
    enroll("db", "downgrade", "base", "--yes")
    nowhere = f"127.0.0.1:{unused_port()}"
    monkeypatch.setenv("ENROLL_REDIS_URL", f"redis://:hunter2@{nowhere}/0")
    monkeypatch.setenv("ENROLL_BROKER_URL", f"amqp://u:hunter2@{nowhere}//")

    result = enroll("doctor", "--url", f"http://{nowhere}")

    assert result.exit_code == 6
    wrong = [line.split(":")[0] for line in result.stdout.splitlines() if "WRONG" in line]
    assert wrong == ["WRONG tables", "WRONG redis", "WRONG broker", "WRONG gateway"]
    assert "hunter2" not in result.output


def test_settings_that_cannot_be_used_end_the_visit(enroll, monkeypatch):
    monkeypatch.setenv("ENROLL_REDIS_URL", "http://x")

    result = enroll("doctor")

    assert result.exit_code == 6
    assert "ENROLL_REDIS_URL" in result.stdout


def test_commands_on_the_database_print_json(enroll, world_of_keys):
    def printed(*words):
        return json.loads(enroll(*words, "--json").stdout)

    made = printed("keys", "create", "sis", "--scope", "read")
    assert (made["name"], made["scopes"]) == ("sis", ["read"])
    assert made["key"].startswith("enr_")
    assert printed("keys", "list")["keys"][0]["revoked_at"] is None
    assert printed("keys", "revoke", 1) == {"revoked": 1}
    assert printed("keys", "list")["keys"][0]["revoked_at"]
    assert printed("tokens", "create", "ada")["token"].count(".") == 2
    assert printed("batches", "list") == {"batches": []}
    assert printed("batches", "retry", "--all") == {"freed": []}
    assert {check["subject"] for check in printed("doctor")["checks"]} >= {"settings", "tables"}
    assert {one["name"] for one in printed("doctor", "--settings")["settings"]} == set(VARIABLES)
    assert printed("db", "check") == {"missing": []}
    assert printed("db", "downgrade", "base", "--yes") == {"downgraded_to": "base"}
    assert printed("db", "check")["missing"] == printed("db", "upgrade")["upgraded"] != []


@pytest.fixture
def world_of_keys(enroll):
    enroll("db", "upgrade")
