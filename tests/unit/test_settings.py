"""Settings: what the environment says, and what it may not say."""

from dataclasses import fields
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api_gateway.http.headers import MAX_WAIT
from enrollment.runtime.setting_names import VARIABLES
from enrollment.runtime.setting_values import MAX_MODE_LENGTH
from enrollment.runtime.settings import (
    MAX_WAIT_SECONDS,
    Settings,
    SettingsError,
    from_env,
    sqlite_url,
    variable_of,
)
from schemas.fields import MAX_MODE

#: An environment that says nothing about this service.
NOTHING = {"PATH": "/bin"}
KEY = "0123456789abcdef0123456789abcdef"
OUTSIDE = {"ENROLL_JWT_ISSUER": "https://idp", "ENROLL_JWT_AUDIENCE": "us"}


def test_without_a_word_the_embedded_default_is_meant():
    assert from_env(NOTHING) == Settings(
        database_url="sqlite:///.enroll/enrollment.sqlite3",
        redis_url="redis://127.0.0.1:6379/0",
        broker_url="redis://127.0.0.1:6379/0",
    )


def test_every_setting_has_its_variable_and_every_variable_its_setting():
    assert {variable_of(known.name) for known in fields(Settings)} == set(VARIABLES)


@pytest.mark.parametrize(
    ("name", "text", "field", "value"),
    [
        ("ENROLL_DATABASE_URL", "postgresql://u:p@h/d", "database_url", "postgresql+psycopg://u:p@h/d"),
        ("ENROLL_DATABASE_URL", "postgres://u:p@h/d", "database_url", "postgresql+psycopg://u:p@h/d"),
        ("ENROLL_DATABASE_URL", "postgresql+psycopg://h/d", "database_url", "postgresql+psycopg://h/d"),
        ("ENROLL_DATABASE_URL", "sqlite:///x", "database_url", "sqlite:///x"),
        ("ENROLL_REDIS_URL", "rediss://h", "redis_url", "rediss://h"),
        ("ENROLL_BROKER_URL", "amqp://h", "broker_url", "amqp://h"),
        ("ENROLL_DEFAULT_WAIT", "2.5", "default_wait", 2.5),
        ("ENROLL_DEFAULT_WAIT", "0", "default_wait", 0.0),
        ("ENROLL_DEFAULT_MODE", "honor", "default_mode", "honor"),
        ("ENROLL_UNKNOWN_LEARNERS", "refuse", "accepts_unknown_learners", False),
        ("ENROLL_UNKNOWN_LEARNERS", "Accept", "accepts_unknown_learners", True),
        ("ENROLL_SELF_UNENROLL", "TRUE", "self_unenroll", True),
        ("ENROLL_SELF_UNENROLL", "0", "self_unenroll", False),
        ("ENROLL_EDX_API_KEY", KEY, "edx_api_key", KEY),
        ("ENROLL_MAX_UPLOAD_ROWS", "7", "max_upload_rows", 7),
        ("ENROLL_BATCH_ROWS", "500", "batch_rows", 500),
        ("ENROLL_RETENTION_DAYS", "", "retention_days", 30),
        ("ENROLL_EDX_API_KEY", "", "edx_api_key", None),
    ],
)  # fmt: skip
def test_a_variable_becomes_its_setting(name, text, field, value):
    assert getattr(from_env({name: text, **NOTHING}), field) == value


def test_the_records_are_where_the_data_is_and_the_queue_where_redis_is():
    settings = from_env({"ENROLL_DATA_DIR": "/srv/enroll", "ENROLL_REDIS_URL": "redis://h/3"})

    assert settings.data_dir == Path("/srv/enroll")
    assert settings.database_url == sqlite_url(Path("/srv/enroll"))
    assert settings.broker_url == "redis://h/3"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("ENROLL_DATABASE_URL", "mysql://u:hunter2@h/d"),
        ("ENROLL_REDIS_URL", "http://u:hunter2@h"),
        ("ENROLL_REDIS_URL", "redis+cluster://u:hunter2@h"),
        ("ENROLL_BROKER_URL", "sqs://u:hunter2@h"),
        ("ENROLL_DEFAULT_WAIT", "soon"),
        ("ENROLL_DEFAULT_WAIT", "-1"),
        ("ENROLL_DEFAULT_WAIT", "inf"),
        ("ENROLL_DEFAULT_WAIT", "nan"),
        ("ENROLL_DEFAULT_WAIT", "60.5"),
        ("ENROLL_DEFAULT_WAIT", " 5"),
        ("ENROLL_DEFAULT_MODE", "no slug"),
        ("ENROLL_DEFAULT_MODE", "m" * 101),
        ("ENROLL_LOG_LEVEL", "verbose"),
        ("ENROLL_LOG_LEVEL", "info\r"),
        ("ENROLL_RETENTION_DAYS", "36501"),
        ("ENROLL_HSTS_SECONDS", "1e10"),
        ("ENROLL_ALLOWED_HOSTS", ","),
        ("ENROLL_ALLOWED_HOSTS", "a:80"),
        ("ENROLL_CORS_ORIGINS", "*"),
        ("ENROLL_CORS_ORIGINS", "null"),
        ("ENROLL_CORS_ORIGINS", "https://"),
        ("ENROLL_CORS_ORIGINS", "portal.example.org"),
        ("ENROLL_CORS_ORIGINS", "https://portal.example.org/"),
        ("ENROLL_CORS_ORIGINS", "https://*.example.org"),
        ("ENROLL_CORS_ORIGINS", "https://portal.example.org:99999"),
        ("ENROLL_CORS_ORIGINS", "https://a@portal.example.org"),
        ("ENROLL_CORS_ORIGINS", "https://portal.example.org,"),
        ("ENROLL_CORS_ORIGINS", "ftp://portal.example.org"),
        ("ENROLL_EDX_API_KEY", "hunter2"),
        ("ENROLL_EDX_API_KEY", "hunter2" * 5 + "\n"),
        ("ENROLL_EDX_API_KEY", "hunter2" * 5 + "\x07x"),
        ("ENROLL_EDX_API_KEY", "hunter2" * 5 + "é"),
        ("ENROLL_EDX_API_KEY", "hunter2" * 5 + "\udcff"),
        ("ENROLL_JWT_SECRET", " hunter2"),
        ("ENROLL_JWT_ISSUER", "https://idp "),
        ("ENROLL_FAILPOINTS", "hunter3"),
        ("ENROLL_FAILPOINTS", "ring.sent=crash"),
        ("ENROLL_UNKNOWN_LEARNERS", "maybe"),
        ("ENROLL_SELF_UNENROLL", "perhaps"),
        ("ENROLL_BATCH_ROWS", "0"),
        ("ENROLL_BATCH_ROWS", "-5"),
        ("ENROLL_BATCH_ROWS", "1.5"),
        ("ENROLL_BATCH_ROWS", "²"),
    ],
)
def test_a_wrong_value_is_named_without_its_password(name, text):
    with pytest.raises(SettingsError) as refusal:
        from_env({name: text})

    assert name in str(refusal.value)
    assert "hunter2" not in str(refusal.value)


def test_the_longest_wait_is_that_of_a_caller():
    assert MAX_WAIT == MAX_WAIT_SECONDS
    assert from_env({"ENROLL_DEFAULT_WAIT": "60"}).default_wait == MAX_WAIT


def test_the_longest_mode_is_that_of_a_request():
    assert MAX_MODE_LENGTH == MAX_MODE


def test_fail_points_are_for_those_who_accept_data_loss():
    environ = {"ENROLL_FAILPOINTS": "ring.sent=crash"}

    with pytest.raises(SettingsError, match="ENROLL_ACCEPT_DATA_LOSS"):
        from_env(environ)
    with pytest.raises(SettingsError, match="ENROLL_ACCEPT_DATA_LOSS"):
        from_env({**environ, "ENROLL_ACCEPT_DATA_LOSS": "false"})
    assert from_env({**environ, "ENROLL_ACCEPT_DATA_LOSS": "true"}).failpoints == "ring.sent=crash"


@pytest.mark.parametrize("environ", [NOTHING, {"ENROLL_DATABASE_URL": ""}])
def test_a_process_of_a_production_has_no_default_database(environ):
    with pytest.raises(SettingsError, match="ENROLL_DATABASE_URL is not set: name the database"):
        from_env(environ, requires_database=True)


@pytest.mark.parametrize("name", ["ENROLL_REDIS_URL", "ENROLL_BROKER_URL"])
@pytest.mark.parametrize(
    "scheme",
    ["redis+cluster", "rediss+cluster", "valkey+cluster", "REDIS+CLUSTER", "redis-cluster"],
)
def test_a_redis_cluster_is_refused_with_the_reason(name, scheme):
    with pytest.raises(SettingsError, match=f"{name} .*cannot carry the queue"):
        from_env({name: f"{scheme}://u:hunter2@h"})


@given(st.text(max_size=12).filter(lambda text: text != ""))
def test_a_whole_number_is_read_or_refused(text):
    try:
        rows = from_env({"ENROLL_BATCH_ROWS": text}).batch_rows
    except SettingsError:
        return
    assert rows == int(text) > 0


@pytest.mark.parametrize(
    "key",
    [
        {"ENROLL_JWT_SECRET": "s"},
        {"ENROLL_JWT_PUBLIC_KEY": "issuer.pem"},
        {"ENROLL_JWT_JWKS": "https://idp/jwks"},
    ],
)
def test_an_outside_issuer_has_a_name_an_audience_and_one_key(key):
    settings = from_env(OUTSIDE | key)

    assert (settings.jwt_issuer, settings.jwt_audience) == ("https://idp", "us")
    for missing in OUTSIDE:
        with pytest.raises(SettingsError, match="ENROLL_JWT_ISSUER and ENROLL_JWT_AUDIENCE"):
            from_env({name: text for name, text in (OUTSIDE | key).items() if name != missing})


@pytest.mark.parametrize("name", ["ISSUER", "AUDIENCE", "ALGORITHM", "SECRET"])
def test_a_part_of_an_outside_issuer_alone_is_not_ignored(name):
    with pytest.raises(SettingsError, match="ENROLL_JWT_ISSUER and ENROLL_JWT_AUDIENCE"):
        from_env({f"ENROLL_JWT_{name}": "RS256"})


@pytest.mark.parametrize(
    "keys", [{}, {"ENROLL_JWT_SECRET": "s", "ENROLL_JWT_JWKS": "https://idp/jwks"}]
)
def test_an_outside_issuer_without_a_key_or_with_two_is_refused(keys):
    with pytest.raises(SettingsError, match="exactly one of"):
        from_env(OUTSIDE | keys)


def test_secrets_do_not_show(monkeypatch):
    for name, text in {
        "ENROLL_DATABASE_URL": "postgresql://u:hunter2@h/d",
        "ENROLL_REDIS_URL": "redis://:hunter2@h",
        "ENROLL_EDX_API_KEY": f"hunter2{KEY}",
        "ENROLL_JWT_SECRET": "hunter2",
        **OUTSIDE,
    }.items():
        monkeypatch.setenv(name, text)

    settings = from_env()

    assert settings.edx_api_key == f"hunter2{KEY}"
    assert "hunter2" not in repr(settings)


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("40/minute", (40, 60)),
        ("600", (600, 60)),
        ("5/s", (5, 1)),
        ("1000/Hour", (1000, 3600)),
        ("10/day", (10, 86400)),
        ("unlimited", None),
    ],
)
def test_a_rate_is_a_number_of_requests_in_a_time(text, rate):
    assert from_env({"ENROLL_THROTTLE_KEYS": text}).throttle_keys == rate


def test_clients_are_read_and_their_secrets_are_not_shown():
    settings = from_env({"ENROLL_OAUTH_CLIENTS": f"a:{'s' * 16}:ada, b:{'t' * 16}:bob:staff"})

    assert settings.oauth_clients == (("a", "s" * 16, "ada", False), ("b", "t" * 16, "bob", True))
    assert "ssss" not in repr(settings)


def test_no_message_about_a_client_has_its_secret():
    secret = "a-secret-that-is-long-enough"
    for text in (f"a:{secret}", f"a:{secret}:", f"a:{secret}:ada:x", f"a:{secret}é:ada", secret):
        with pytest.raises(SettingsError) as refusal:
            from_env({"ENROLL_OAUTH_CLIENTS": text})
        assert secret not in str(refusal.value)


def test_origins_are_those_that_browsers_send():
    text = "https://Portal.Example.org:443, http://localhost:3000,http://[::1]:80"

    settings = from_env({"ENROLL_CORS_ORIGINS": text})

    assert settings.cors_origins == {
        "https://portal.example.org",
        "http://localhost:3000",
        "http://[::1]",
    }
    assert from_env({}).cors_origins == frozenset()
