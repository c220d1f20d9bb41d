"""Commands that work on the records, and the doctor."""

import io
import json
import stat
import time
from datetime import UTC, datetime, timedelta

import jwt
import pytest
import structlog
from sqlalchemy import text, update

from api_gateway.auth.signing_keys import parse_signing_keys
from enrollment.runtime.setting_names import VARIABLES
from enrollment.storage.credentials import api_keys
from enrollment.storage.engine.sessions import sessions_for
from enrollment.storage.outbox.installation import find_signing_kid
from enrollment.storage.tables import ApiKeyRow
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


@pytest.mark.parametrize(
    "words",
    [("keys", "list"), ("keys", "revoke", "1"), ("batches", "list"), ("verify",)],
    ids=str,
)
def test_no_command_uses_the_tables_of_a_later_release(enroll, tmp_path, words):
    enroll("db", "upgrade")
    sessions = sessions_for(f"sqlite:///{tmp_path}/data/enrollment.sqlite3")
    with sessions.begin() as session:
        session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    sessions.dispose()

    result = enroll(*words)

    assert result.exit_code == 2
    assert "The database belongs to a later release" in result.stderr


def test_what_happens_to_keys_is_logged_without_the_keys(enroll):
    enroll("db", "upgrade")
    create = ("keys", "create", "sis", "--scope", "enroll")

    results = [enroll(*create), enroll(*create, "--rotate"), enroll("keys", "revoke", 1)]

    records = [json.loads(line) for result in results for line in result.stderr.splitlines()]
    assert [record["event"] for record in records] == ["key.created", "key.rotated", "key.revoked"]
    assert [record["key_id"] for record in records] == [1, 2, 1]
    assert (records[0]["name"], records[0]["scopes"]) == ("sis", ["enroll"])
    assert not any("enr_" in result.stderr for result in results)


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


@pytest.mark.parametrize("rotate", [[], ["--rotate"]])
def test_a_name_whose_keys_are_all_revoked_is_never_given_again(enroll, rotate):
    enroll("db", "upgrade")
    create = ("keys", "create", "sis", "--scope", "enroll")
    enroll(*create)
    enroll(*create, "--rotate")
    enroll("keys", "revoke", 1)
    third = enroll(*create, "--rotate")
    enroll("keys", "revoke", 2)
    enroll("keys", "revoke", 3)

    assert third.exit_code == 0
    for scope in ("enroll", "read"):
        result = enroll("keys", "create", "sis", "--scope", scope, *rotate)
        assert result.exit_code == 2
        assert "Choose another name" in result.stderr


def test_an_expired_key_has_a_successor_with_the_same_scopes_only(enroll, tmp_path, scopes_of):
    enroll("db", "upgrade")
    create = ("keys", "create", "sis", "--scope")
    enroll(*create, "enroll", "--expires", 1)
    sessions = sessions_for(f"sqlite:///{tmp_path}/data/enrollment.sqlite3")
    with sessions.begin() as session:
        session.execute(update(ApiKeyRow).values(expires_at=datetime(2026, 1, 1, tzinfo=UTC)))
    sessions.dispose()

    assert "expired 2026-01-01 00:00Z" in enroll("keys", "list").stdout
    assert "has expired" in enroll(*create, "enroll").stderr
    assert enroll(*create, "read", "--rotate").exit_code == 2
    assert enroll(*create, "enroll", "--rotate").exit_code == 0


def test_names_of_earlier_releases_go_on(enroll, tmp_path):
    enroll("db", "upgrade")
    sessions = sessions_for(f"sqlite:///{tmp_path}/data/enrollment.sqlite3")
    with sessions.begin() as session:
        digest, scopes = b"d" * 32, frozenset({"read"})
        api_keys.add(
            session, name="The SIS\x1b[2J", scopes=scopes, digest=digest, now=datetime.now(UTC)
        )
    sessions.dispose()

    again = enroll("keys", "create", "The SIS\x1b[2J", "--scope", "read", "--rotate")

    assert again.exit_code == 0
    assert "The SIS?[2J" in enroll("keys", "list").stdout
    assert "\x1b" not in enroll("keys", "list").stdout


def test_a_key_may_have_an_end(enroll):
    enroll("db", "upgrade")

    days = enroll("keys", "create", "a", "--scope", "read", "--expires", 30)
    date = enroll("keys", "create", "b", "--scope", "read", "--expires", "2999-12-31")

    assert (days.exit_code, date.exit_code) == (0, 0)
    assert "Valid until 3000-01-01 00:00Z." in date.stdout
    listed = json.loads(enroll("keys", "list", "--json").stdout)["keys"]
    left = datetime.fromisoformat(listed[0]["expires_at"]) - datetime.now(UTC)
    assert timedelta(days=29) < left <= timedelta(days=30)
    assert listed[1]["expires_at"] == "3000-01-01T00:00:00+00:00"
    assert listed[0]["last_used_at"] is None
    assert "in use until 3000-01-01 00:00Z" in enroll("keys", "list").stdout
    assert "never used" in enroll("keys", "list").stdout


@pytest.mark.parametrize("expires", ["0", "-1", "2020-01-01", "soon", "9" * 12, "2027-02-30"])
def test_an_end_that_is_none_is_wrong_usage(enroll, expires):
    enroll("db", "upgrade")

    assert enroll("keys", "create", "a", "--scope", "read", f"--expires={expires}").exit_code == 2


def test_a_scope_that_is_none_is_wrong_usage(enroll):
    assert enroll("keys", "create", "sis", "--scope", "all").exit_code == 2


def test_a_token_is_the_last_line(enroll):
    enroll("tokens", "rotate")

    result = enroll("tokens", "create", "ada", "--staff", "--email", "ada@example.org")

    assert result.exit_code == 0
    assert result.stdout.splitlines()[-1].count(".") == 2


def test_a_token_does_not_last_for_ever(enroll):
    enroll("tokens", "rotate")

    result = enroll("tokens", "create", "ada", "--minutes", 61)

    assert result.exit_code == 2
    assert "at most 60 minutes" in result.stderr
    assert enroll("tokens", "create", "ada", "--minutes", 60).exit_code == 0
    assert enroll("tokens", "create", "ada", "--minutes", "nan").exit_code == 2
    assert enroll("tokens", "create", "a:b").exit_code == 2


def lifetime(token):
    claims = jwt.decode(token, options={"verify_signature": False})
    return claims["exp"] - claims["iat"]


@pytest.mark.parametrize(("maximum", "default"), [("600", 600), ("7200", 3600)])
def test_the_lifetime_of_a_token_is_a_setting(enroll, monkeypatch, maximum, default):
    monkeypatch.setenv("ENROLL_JWT_MAX_LIFETIME", maximum)
    enroll("tokens", "rotate")

    token = enroll("tokens", "create", "ada").stdout.strip()
    longest = enroll("tokens", "create", "ada", "--minutes", int(maximum) / 60).stdout.strip()

    assert (lifetime(token), lifetime(longest)) == (default, int(maximum))


def signing_kid(tmp_path):
    sessions = sessions_for(f"sqlite:///{tmp_path}/data/enrollment.sqlite3")
    with sessions.read() as session:
        found = find_signing_kid(session)
    sessions.dispose()
    return found


def test_the_first_token_makes_the_key_that_gateways_find(enroll, tmp_path):
    assert "There is no database" in enroll("tokens", "create", "ada").stderr
    enroll("db", "upgrade")

    first, second = (enroll("tokens", "create", "ada").stdout.strip() for _ in range(2))

    (key,) = parse_signing_keys((tmp_path / "data" / "signing.key").read_text())
    kids = [jwt.get_unverified_header(token)["kid"] for token in (first, second)]
    assert kids == [key.kid] * 2
    assert signing_kid(tmp_path) == key.kid


def test_where_another_host_has_the_key_it_is_said_what_to_do(enroll, tmp_path):
    enroll("db", "upgrade")
    enroll("tokens", "create", "ada")
    (tmp_path / "data" / "signing.key").unlink()

    result = enroll("tokens", "create", "ada")
    assert result.exit_code == 2
    for named in ("copy signing.key", "ENROLL_SIGNING_KEY", "enroll tokens rotate"):
        assert named in result.stderr
    assert "note  signing key: another host has the signing key" in enroll("doctor").stdout

    rotated = json.loads(enroll("tokens", "rotate", "--json").stdout)
    assert signing_kid(tmp_path) == rotated["kid"]
    assert enroll("tokens", "create", "ada").exit_code == 0
    assert "signing key" not in enroll("doctor").stdout


def test_a_key_that_is_replaced_is_recorded_before_and_after_there_are_tables(enroll, tmp_path):
    enroll("tokens", "rotate")
    enroll("db", "upgrade")
    assert signing_kid(tmp_path) is None

    kids = [json.loads(enroll("tokens", "rotate", "--json").stdout)["kid"] for _ in range(2)]
    assert signing_kid(tmp_path) == kids[1]


def test_a_key_that_is_not_replaced_is_not_recorded(enroll, tmp_path):
    enroll("db", "upgrade")
    enroll("tokens", "create", "ada")
    before = signing_kid(tmp_path)
    (tmp_path / "data" / "signing.key").write_text("half")

    assert enroll("tokens", "rotate").exit_code == 2
    assert signing_kid(tmp_path) == before


def test_a_named_file_is_not_recorded(enroll, tmp_path, monkeypatch):
    enroll("db", "upgrade")
    monkeypatch.setenv("ENROLL_SIGNING_KEY_FILE", str(tmp_path / "named.key"))

    assert enroll("tokens", "rotate").exit_code == 0
    assert signing_kid(tmp_path) is None


@pytest.mark.parametrize("command", [["create", "ada"], ["rotate"]])
def test_tokens_that_are_switched_off_are_not_made(enroll, monkeypatch, command):
    monkeypatch.setenv("ENROLL_OWN_TOKENS", "false")

    result = enroll("tokens", *command)

    assert result.exit_code == 2
    assert "ENROLL_OWN_TOKENS" in result.stderr


def test_a_signing_key_that_is_replaced_verifies_until_its_tokens_end(enroll, tmp_path):
    enroll("tokens", "rotate")
    file = tmp_path / "data" / "signing.key"
    first = enroll("tokens", "create", "ada").stdout.strip()
    rotated = json.loads(enroll("tokens", "rotate", "--json").stdout)
    second = enroll("tokens", "create", "ada").stdout.strip()
    kids = [jwt.get_unverified_header(token)["kid"] for token in (first, second)]

    assert rotated["kid"] == kids[1] != kids[0]
    assert 3590 < rotated["previous_ends_at"] - time.time() <= 3600
    assert [key.kid for key in parse_signing_keys(file.read_text())] == [kids[1], kids[0]]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600

    assert "end at" in enroll("tokens", "rotate", "--end-tokens").stdout
    assert len(parse_signing_keys(file.read_text())) == 1


def test_a_file_of_another_kind_is_left_alone(enroll, tmp_path, monkeypatch):
    file = tmp_path / "diary.txt"
    file.write_text("Dear diary\n")
    monkeypatch.setenv("ENROLL_SIGNING_KEY_FILE", str(file))

    result = enroll("tokens", "rotate")

    assert result.exit_code == 2
    assert "not a file of signing keys" in result.stderr
    assert file.read_text() == "Dear diary\n"


def test_a_signing_key_in_the_settings_is_replaced_there(enroll, monkeypatch):
    monkeypatch.setenv("ENROLL_SIGNING_KEY", "k" * 32)

    result = enroll("tokens", "rotate")

    assert result.exit_code == 2
    assert "ENROLL_SIGNING_KEY" in result.stderr
    assert enroll("tokens", "create", "ada").exit_code == 0


@pytest.mark.parametrize("words", [["keys", "list"], ["tokens", "create", "ada"]])
def test_records_that_are_not_there_are_not_made_by_looking(enroll, tmp_path, words):
    result = enroll(*words)

    assert result.exit_code == 2
    assert "enroll up" in result.stderr
    assert not (tmp_path / "data").exists()


def test_a_database_that_is_away_is_code_three(enroll, monkeypatch):
    away = f"postgresql://nobody@127.0.0.1:{unused_port()}/none"
    monkeypatch.setenv("ENROLL_DATABASE_URL", away)

    result = enroll("keys", "list", "--json")

    assert result.exit_code == 3
    assert "does not answer" in result.stderr
    record = json.loads(result.stderr.splitlines()[0])  # no terminal: as a process would log it
    assert (record["event"], record["process"]) == ("database.unreachable", "cli")
    assert record["level"] == "error"
    assert result.stdout == ""


def test_what_a_command_logs_has_no_password(enroll, monkeypatch):
    """The words of the database's library may have the whole URL."""

    enroll("keys", "--help")
    written = io.StringIO()
    monkeypatch.setattr("sys.stderr", written)

    structlog.get_logger().error("x", because="postgresql://enroll:secret@db/enroll")

    assert "secret" not in written.getvalue()
    assert json.loads(written.getvalue())["because"] == "postgresql://enroll:***@db/enroll"


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
    assert printed("tokens", "rotate")["previous_ends_at"] is None
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


def test_the_doctor_notes_a_database_whose_certificate_is_not_verified(enroll, monkeypatch):
    monkeypatch.setenv("ENROLL_DATABASE_URL", "postgresql://u:hunter2@db.invalid/x")

    noted = enroll("doctor").stdout
    monkeypatch.setenv("PGSSLMODE", "verify-full")
    verified = enroll("doctor").stdout

    assert "note  database: the connection to db.invalid does not verify" in noted
    assert "sslmode=verify-full" in noted
    assert "does not verify" not in verified
    assert "hunter2" not in noted
