"""Every process, and the doctor, refuse the same settings with the same sentence."""

import json
import os
import subprocess
import sys

import certifi
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.support.service_processes import ENROLL, bare

SECRET = "s" * 32
ISSUER = {"ENROLL_JWT_ISSUER": "https://idp.example.org", "ENROLL_JWT_AUDIENCE": "enroll-here"}
#: Settings that nothing can start with, and the beginning of the sentence about them.
REFUSED = [
    ({"ENROLL_DATABSE_URL": "sqlite:///x"}, "ENROLL_DATABSE_URL is not a setting: did you mean"),
    ({"ENROLL_XYZZY": "1"}, "ENROLL_XYZZY is not a setting."),
    ({"ENROLL_DATABASE_URL": "mysql://x"}, "ENROLL_DATABASE_URL must begin with"),
    ({"ENROLL_REDIS_URL": "http://x"}, "ENROLL_REDIS_URL must begin with"),
    ({"ENROLL_BROKER_URL": "sqs://x"}, "ENROLL_BROKER_URL must begin with"),
    ({"ENROLL_DATABASE_URL": "sqlite://x"}, "ENROLL_DATABASE_URL cannot be used: Invalid SQLite"),
    (
        {"ENROLL_DATABASE_URL": "postgresql://h/d?foo=bar"},
        'ENROLL_DATABASE_URL cannot be used: invalid connection option "foo"',
    ),
    ({"ENROLL_DATABASE_URL": "postgresql://[::1/d"}, "ENROLL_DATABASE_URL Invalid IPv6 URL"),
    (
        {"ENROLL_REDIS_URL": "redis://h/0?foo=1"},
        "ENROLL_REDIS_URL cannot be used: got an unexpected keyword argument 'foo'",
    ),
    (
        {"ENROLL_BROKER_URL": "rediss://h?ssl_cert_reqs=bad"},
        "ENROLL_BROKER_URL cannot be used: Invalid SSL Certificate Requirements Flag",
    ),
    (
        {"ENROLL_REDIS_URL": "sentinel://a,b/m?foo=1"},
        "ENROLL_REDIS_URL cannot be used: got an unexpected keyword argument 'foo'",
    ),
    (
        {"ENROLL_REDIS_URL": "rediss://h/0?ssl_ca_certs=/no/ca.pem"},
        "ENROLL_REDIS_URL names the file /no/ca.pem in ssl_ca_certs, which cannot be read: No such",
    ),
    (
        {"ENROLL_REDIS_URL": "rediss+sentinel://a,b/m?ssl_keyfile=/no/key.pem"},
        "ENROLL_REDIS_URL names the file /no/key.pem in ssl_keyfile, which cannot be read: No such",
    ),
    (
        {"ENROLL_BROKER_URL": "rediss://h/0?ssl_ca_certs=/dev/null"},
        "ENROLL_BROKER_URL names the file /dev/null in ssl_ca_certs: it has no certificate",
    ),
    (
        {"ENROLL_BROKER_URL": "amqps://a//;amqps://b//?ssl_ca_certs=/no/ca.pem"},
        "ENROLL_BROKER_URL names the file /no/ca.pem in ssl_ca_certs, which cannot be read: No suc",
    ),
    (
        {"ENROLL_EVENT_BUS_URL": "rediss://h/0?ssl_certfile=/no/c.pem"},
        "ENROLL_EVENT_BUS_URL names the file /no/c.pem in ssl_certfile, which cannot be read: No s",
    ),
    (
        {"ENROLL_EVENT_BUS_URL": "redis://h/0?foo=1"},
        "ENROLL_EVENT_BUS_URL cannot be used: got an unexpected keyword argument 'foo'",
    ),
    (
        {"ENROLL_BROKER_URL": "amqps://h//?ca_certs=/x"},
        "ENROLL_BROKER_URL cannot be used: got an unexpected keyword argument 'ca_certs'",
    ),
    ({"ENROLL_LOG_LEVEL": "verbose"}, "ENROLL_LOG_LEVEL must be one of debug, info"),
    ({"ENROLL_LOG_LEVEL": "info\r"}, "ENROLL_LOG_LEVEL begins or ends with a blank"),
    ({"ENROLL_DEFAULT_WAIT": "100"}, "ENROLL_DEFAULT_WAIT must be a number from 0 to 60"),
    ({"ENROLL_RETENTION_DAYS": "100000000000"}, "ENROLL_RETENTION_DAYS must be a whole number"),
    ({"ENROLL_BATCH_ROWS": "0"}, "ENROLL_BATCH_ROWS must be a whole number"),
    ({"ENROLL_SELF_UNENROLL": "perhaps"}, "ENROLL_SELF_UNENROLL must be true or false"),
    ({"ENROLL_ALLOWED_HOSTS": "a:80"}, "ENROLL_ALLOWED_HOSTS must be host names"),
    (
        {"ENROLL_OAUTH_CLIENTS": f"a:{SECRET}:ada,b:{SECRET}"},
        "ENROLL_OAUTH_CLIENTS must be entries id:secret:username or id:secret:username:staff",
    ),
    ({"ENROLL_OAUTH_CLIENTS": f"a:{SECRET}:ada:admin"}, "ENROLL_OAUTH_CLIENTS must be entries id:"),
    ({"ENROLL_OAUTH_CLIENTS": f"a:{SECRET}:ada:"}, "ENROLL_OAUTH_CLIENTS must be entries id:"),
    ({"ENROLL_OAUTH_CLIENTS": f":{SECRET}:ada"}, "ENROLL_OAUTH_CLIENTS must be entries id:"),
    ({"ENROLL_OAUTH_CLIENTS": "a:short:ada"}, "ENROLL_OAUTH_CLIENTS has an entry, number 1, whose"),
    (
        {"ENROLL_OAUTH_CLIENTS": f"a:{SECRET}:ada,a:{SECRET}:bob"},
        "ENROLL_OAUTH_CLIENTS has the client of entry 2 twice",
    ),
    (
        {"ENROLL_OAUTH_CLIENTS": f"a:{SECRET}:ada,b:{SECRET}:4.71101E+11"},
        "ENROLL_OAUTH_CLIENTS: the third part of entry 2 is not a valid username",
    ),
    (
        {"ENROLL_OAUTH_CLIENTS": f"a:{SECRET}:ada/lovelace"},
        "ENROLL_OAUTH_CLIENTS: the third part of entry 1 is not a valid username",
    ),
    ({"ENROLL_THROTTLE": "no more"}, "ENROLL_THROTTLE must be on or off"),
    ({"ENROLL_THROTTLE_KEYS": "0/minute"}, "ENROLL_THROTTLE_KEYS must be a number of requests"),
    ({"ENROLL_THROTTLE_STAFF": "5/year"}, "ENROLL_THROTTLE_STAFF must be a number of requests"),
    ({"ENROLL_TRUSTED_PROXIES": "proxy"}, "ENROLL_TRUSTED_PROXIES must be addresses or networks"),
    ({"ENROLL_EDX_API_KEY": "short"}, "ENROLL_EDX_API_KEY is too short"),
    ({"ENROLL_EDX_API_KEY": SECRET + "\n"}, "ENROLL_EDX_API_KEY begins or ends with a blank"),
    ({"ENROLL_FAILPOINTS": "nowhere=crash"}, "ENROLL_FAILPOINTS contains 'nowhere=crash'"),
    ({"ENROLL_FAILPOINTS": "ring.sent=crash"}, "ENROLL_FAILPOINTS injects faults"),
    ({"ENROLL_JWT_ALGORITHM": "RS256"}, "tokens of an outside issuer need ENROLL_JWT_ISSUER"),
    (ISSUER, "tokens of an outside issuer need exactly one of"),
    ({**ISSUER, "ENROLL_JWT_SECRET": "short"}, "ENROLL_JWT_SECRET is too short for HS256"),
    (
        {**ISSUER, "ENROLL_JWT_SECRET": SECRET, "ENROLL_JWT_ALGORITHM": "HS512"},
        "ENROLL_JWT_SECRET is too short for HS512",
    ),
    (
        {**ISSUER, "ENROLL_JWT_SECRET": SECRET, "ENROLL_JWT_ALGORITHM": "RS256"},
        "ENROLL_JWT_ALGORITHM must be one of HS256",
    ),
    (
        {**ISSUER, "ENROLL_JWT_SECRET": SECRET, "ENROLL_JWT_ISSUER": "enroll"},
        "ENROLL_JWT_ISSUER cannot be 'enroll'",
    ),
    (
        {**ISSUER, "ENROLL_JWT_PUBLIC_KEY": "/no/file.pem"},
        "ENROLL_JWT_PUBLIC_KEY: /no/file.pem cannot be read (No such file or directory)",
    ),
    ({**ISSUER, "ENROLL_JWT_PUBLIC_KEY": "{text}"}, "ENROLL_JWT_PUBLIC_KEY is not a key for RS256"),
    (
        {**ISSUER, "ENROLL_JWT_PUBLIC_KEY": "{private}"},
        "ENROLL_JWT_PUBLIC_KEY must be the public key",
    ),
    ({**ISSUER, "ENROLL_JWT_JWKS": "/no/jwks.json"}, "ENROLL_JWT_JWKS: /no/jwks.json cannot be"),
    ({**ISSUER, "ENROLL_JWT_JWKS": "{text}"}, "ENROLL_JWT_JWKS: "),
    ({**ISSUER, "ENROLL_JWT_JWKS": "http://idp/jwks"}, "ENROLL_JWT_JWKS must be a file or an"),
]
PROCESSES = [("gateway", "--port", "0"), ("worker",), ("beat",), ("up", "--port", "0")]


@pytest.fixture
def files(tmp_path):
    """The paths of files that are no keys, by the names in `REFUSED`."""
    (tmp_path / "text").write_text("no key")
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    (tmp_path / "private").write_bytes(private)
    return {"text": tmp_path / "text", "private": tmp_path / "private"}


@pytest.fixture
def nothing_starts(monkeypatch):
    monkeypatch.setattr(os, "execv", lambda *_: pytest.fail("no worker may start"))


def sentence_of(printed: str) -> str:
    return printed.strip().splitlines()[-1].removeprefix("Error: ")


@pytest.mark.usefixtures("nothing_starts")
@pytest.mark.parametrize(("given", "sentence"), REFUSED, ids=lambda one: str(one)[:60])
def test_a_setting_is_refused_by_every_process_and_the_doctor_alike(
    enroll, monkeypatch, tmp_path, files, given, sentence
):
    monkeypatch.setenv("ENROLL_DATABASE_URL", f"sqlite:///{tmp_path}/x.sqlite3")
    for name, text in given.items():
        path = next((path for key, path in files.items() if text == f"{{{key}}}"), text)
        monkeypatch.setenv(name, str(path))

    results = [enroll(*words) for words in PROCESSES]
    doctor = enroll("doctor", "--json")

    assert [result.exit_code for result in results] == [2] * len(PROCESSES)
    (said,) = {sentence_of(result.stderr) for result in results}
    assert said.startswith(sentence)
    assert SECRET not in said
    assert doctor.exit_code == 6
    wrong = [check for check in json.loads(doctor.stdout)["checks"] if check["mark"] == "wrong"]
    assert [(check["subject"], check["message"]) for check in wrong] == [("settings", said)]
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("words", [("worker",), ("beat",)])
@pytest.mark.parametrize(
    "given",
    [
        {"ENROLL_DATABASE_URL": "postgresql://u:p@h/d?sslmode=require"},
        {"ENROLL_DATABASE_URL": "postgresql://u@a:1,b:2/d"},
        {"ENROLL_REDIS_URL": "rediss://:p@h:6/3?ssl_cert_reqs=none&socket_timeout=3"},
        {"ENROLL_REDIS_URL": "unix://:p@/run/redis.sock?db=3"},
        {"ENROLL_BROKER_URL": "amqp://u:p@a//;amqp://u:p@b//"},
        {"ENROLL_BROKER_URL": f"amqps://u:p@a/x?heartbeat=3&ssl_ca_certs={certifi.where()}"},
        {"ENROLL_REDIS_URL": "sentinel://u:p@a:1,b/m/3?sentinel_password=p&socket_timeout=3"},
        {"ENROLL_BROKER_URL": f"rediss+sentinel://a,b/m?ssl_ca_certs={certifi.where()}"},
        {"ENROLL_FAILPOINTS": "ring.sent=crash", "ENROLL_ACCEPT_DATA_LOSS": "true"},
        {**ISSUER, "ENROLL_JWT_SECRET": SECRET},
        {**ISSUER, "ENROLL_JWT_JWKS": "https://127.0.0.1:1/jwks"},
    ],
)
def test_settings_that_can_be_used_start_a_process(enroll, monkeypatch, given, words):
    became = []
    monkeypatch.setattr(os, "execv", lambda _path, command: became.append(command))
    monkeypatch.setenv("ENROLL_DATABASE_URL", "sqlite:///x")
    for name, text in given.items():
        monkeypatch.setenv(name, text)

    result = enroll(*words)

    assert result.exit_code == 0, result.output
    assert len(became) == 1


@pytest.mark.usefixtures("nothing_starts")
@pytest.mark.parametrize("words", [("gateway", "--port", "0"), ("worker",), ("beat",)])
def test_a_process_of_a_production_needs_to_be_told_its_database(enroll, words):
    result = enroll(*words)

    assert result.exit_code == 2
    assert "ENROLL_DATABASE_URL is not set: name the database" in result.stderr
    assert "Traceback" not in result.output


@pytest.mark.parametrize(
    "words",
    [
        ("db", "check"),
        ("db", "upgrade"),
        ("keys", "list"),
        ("tokens", "create", "ada"),
        ("batches", "list"),
        ("verify",),
        ("courses", "list"),
        ("submissions", "list"),
    ],
)
def test_every_command_refuses_a_variable_that_is_no_setting(enroll, monkeypatch, tmp_path, words):
    monkeypatch.setenv("ENROLL_DATABSE_URL", "sqlite:///x")

    result = enroll(*words)

    assert result.exit_code == 2
    assert "ENROLL_DATABSE_URL is not a setting: did you mean ENROLL_DATABASE_URL?" in result.stderr
    assert not (tmp_path / "data").exists()


def test_help_is_given_with_any_environment(enroll, monkeypatch):
    monkeypatch.setenv("ENROLL_DATABSE_URL", "sqlite:///x")

    assert enroll("gateway", "--help").exit_code == 0
    assert enroll("--version").exit_code == 0


@pytest.mark.parametrize(
    "command",
    [
        [*ENROLL, "gateway", "--port", "0"],
        [*ENROLL, "worker"],
        [*ENROLL, "up", "--port", "0"],
        [sys.executable, "-m", "worker"],
        [sys.executable, "-m", "worker", "beat"],
    ],
    ids=lambda words: " ".join(words[2:4]),
)
def test_a_process_ends_at_once_with_a_sentence(tmp_path, command):
    environment = bare(
        ENROLL_DATABASE_URL="sqlite:///x", ENROLL_LOG_LEVEL="verbose", PYTHONPATH=":".join(sys.path)
    )

    ended = subprocess.run(
        command,
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert ended.returncode == 2
    assert "ENROLL_LOG_LEVEL must be one of debug, info, warning, error" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert not list(tmp_path.iterdir())
