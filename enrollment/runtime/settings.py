"""Settings: the only module that reads the environment; others receive values."""

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path

from enrollment.domain.events import MAX_ORDINAL
from enrollment.runtime import server_urls

#: Description of every variable; `enroll doctor --settings` prints it.
VARIABLES: Mapping[str, str] = {
    "ENROLL_DATABASE_URL": "The database: postgresql+psycopg://… or sqlite:///path.",
    "ENROLL_REDIS_URL": "Redis for the cache, completion events and, by default, the queue.",
    "ENROLL_BROKER_URL": "The queue, if it is not the Redis above (amqp://… for RabbitMQ).",
    "ENROLL_DATA_DIR": "The folder in which enroll up keeps its files.",
    "ENROLL_DEFAULT_WAIT": "Seconds that POST /enrollment waits for its outcome by default.",
    "ENROLL_DEFAULT_MODE": "The mode of requests without one, if the course offers it.",
    "ENROLL_UNKNOWN_LEARNERS": "accept: register unknown learners; refuse: learner_not_found.",
    "ENROLL_SELF_UNENROLL": "true: learners may deactivate their own enrollments.",
    "ENROLL_EDX_API_KEY": "A fixed API key, for clients that have a key already.",
    "ENROLL_JWT_ISSUER": "The required iss of tokens of an outside issuer.",
    "ENROLL_JWT_AUDIENCE": "The required aud of these tokens.",
    "ENROLL_JWT_ALGORITHM": "The one accepted signature algorithm of these tokens.",
    "ENROLL_JWT_SECRET": "The outside issuer's shared secret (HS256).",
    "ENROLL_JWT_PUBLIC_KEY": "File with the outside issuer's public key (PEM).",
    "ENROLL_JWT_JWKS": "File or https URL with the outside issuer's keys (JWKS).",
    "ENROLL_JWT_MAX_LIFETIME": "Maximum seconds from iat to exp of a token.",
    "ENROLL_OWN_TOKENS": "false: take no tokens of our own (enroll tokens create).",
    "ENROLL_SIGNING_KEY": "The key that signs our own tokens, and former keys after commas.",
    "ENROLL_SIGNING_KEY_FILE": "File with that key; default: signing.key in the data folder.",
    "ENROLL_MAX_UPLOAD_BYTES": "Maximum size of an upload, after decompression.",
    "ENROLL_MAX_UPLOAD_ROWS": "Maximum number of rows in a submission.",
    "ENROLL_MAX_JSON_BYTES": "Maximum size of a JSON document (use NDJSON or CSV for more).",
    "ENROLL_MAX_ATOMIC_ROWS": "Maximum number of rows with on_error=abort.",
    "ENROLL_BATCH_ROWS": "Number of requests in a batch of a bulk submission.",
    "ENROLL_MAX_CONNECTIONS": "Maximum number of connections of a gateway process.",
    "ENROLL_MAX_CONNECTIONS_PER_ADDRESS": "The same from one address; default: half of it.",
    "ENROLL_ALLOWED_HOSTS": "Comma list of host names that requests may name (default: any).",
    "ENROLL_HSTS_SECONDS": "max-age of Strict-Transport-Security (default: not sent).",
    "ENROLL_MAX_UPLOADS_PER_CALLER": "Uploads of one caller that a gateway receives at once.",
    "ENROLL_MAX_STREAMS_PER_CALLER": "Event streams of one caller in a gateway process.",
    "ENROLL_MAX_LONG_POLLS_PER_CALLER": "Long polls of one caller in a gateway process.",
    "ENROLL_MAX_PENDING_ROWS_PER_CALLER": "Unprocessed rows with which a caller may upload more.",
    "ENROLL_RETENTION_DAYS": "Days that submissions and their outcomes are kept.",
    "ENROLL_LOG_LEVEL": "debug, info, warning or error.",
    "ENROLL_ACCEPT_DATA_LOSS": "For tests and benchmarks: true accepts possible loss of commits.",
    "ENROLL_FAILPOINTS": "For fault tests only: the faults to inject.",
}


#: A host name, an IPv4 address, or an IPv6 address in brackets.
_HOST_NAME = re.compile(r"[a-z0-9_.-]+|\[[0-9a-f:.]+\]")


class SettingsError(ValueError):
    """A setting is missing or invalid; the message names it and the correction."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Validated settings. Secrets are not part of the repr."""

    database_url: str = field(repr=False)
    redis_url: str = field(repr=False)
    broker_url: str = field(repr=False)
    data_dir: Path = Path(".enroll")
    default_wait: float = 0.0
    default_mode: str = "audit"
    accepts_unknown_learners: bool = True
    self_unenroll: bool = False
    edx_api_key: str | None = field(default=None, repr=False)
    jwt_issuer: str | None = None
    jwt_audience: str | None = None
    jwt_algorithm: str | None = None
    jwt_secret: str | None = field(default=None, repr=False)
    jwt_public_key: Path | None = None
    jwt_jwks: str | None = None
    #: In seconds.
    jwt_max_lifetime: int = 3_600
    own_tokens: bool = True
    signing_key: str | None = field(default=None, repr=False)
    signing_key_file: Path | None = None
    max_upload_bytes: int = 1_000_000_000
    max_upload_rows: int = 2_000_000
    max_json_bytes: int = 16_000_000
    max_atomic_rows: int = 10_000
    batch_rows: int = 1_000
    max_connections: int = 10_000
    max_connections_per_address: int | None = None
    #: Lower case; empty for any.
    allowed_hosts: frozenset[str] = frozenset()
    hsts_seconds: float | None = None
    max_uploads_per_caller: int = 4
    max_streams_per_caller: int = 2_000
    max_long_polls_per_caller: int = 2_000
    max_pending_rows_per_caller: int = 10_000_000
    retention_days: int = 30
    log_level: str = "info"
    accept_data_loss: bool = False
    failpoints: str = ""


def sqlite_url(data_dir: Path) -> str:
    """Returns the URL of the embedded default database."""
    return f"sqlite:///{data_dir / 'enrollment.sqlite3'}"


def from_env(environ: Mapping[str, str] | None = None) -> Settings:
    """Reads and validates the settings; `environ` defaults to `os.environ`.

    Raises SettingsError with the variable, the problem and the valid values.
    """
    source = os.environ if environ is None else environ
    given = {name: text for name, text in source.items() if name in VARIABLES and text != ""}
    data_dir = Path(given.get("ENROLL_DATA_DIR", ".enroll"))
    redis_url = given.get("ENROLL_REDIS_URL", "redis://127.0.0.1:6379/0")
    database_url = given.get("ENROLL_DATABASE_URL", sqlite_url(data_dir))
    broker_url = given.get("ENROLL_BROKER_URL", redis_url)
    values: dict[str, object] = {
        "data_dir": data_dir,
        "database_url": _url("ENROLL_DATABASE_URL", server_urls.database_url, database_url),
        "redis_url": _url("ENROLL_REDIS_URL", server_urls.redis_url, redis_url),
        "broker_url": _url("ENROLL_BROKER_URL", server_urls.broker_url, broker_url),
        "accepts_unknown_learners": _choice(
            given, "ENROLL_UNKNOWN_LEARNERS", ("accept", "refuse"), "accept"
        )
        == "accept",
        "allowed_hosts": _hosts(given.get("ENROLL_ALLOWED_HOSTS", "")),
    }
    readers = {float: _number, int: _positive_integer, bool: _flag, Path: _path}
    for each in fields(Settings):
        name = "ENROLL_" + each.name.upper()
        if each.name not in values and name in given:
            reader = next((r for kind, r in readers.items() if kind in _types(each.type)), None)
            values[each.name] = reader(name, given[name]) if reader else given[name]
    settings = Settings(**values)  # type: ignore[arg-type]
    _check_tokens(settings)
    return settings


def _types(annotation: object) -> tuple[object, ...]:
    return getattr(annotation, "__args__", (annotation,))


def _number(name: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        message = f"{name} must be a number of 0 or more, not {text!r}"
        raise SettingsError(message)
    return value


def _positive_integer(name: str, text: str) -> int:
    maximum = MAX_ORDINAL if name in {"ENROLL_BATCH_ROWS", "ENROLL_MAX_ATOMIC_ROWS"} else 10**12
    if not (text.isascii() and text.isdigit() and 0 < int(text[:20]) <= maximum):
        message = f"{name} must be a whole number from 1 to {maximum}, not {text[:40]!r}"
        raise SettingsError(message)
    return int(text)


def _flag(name: str, text: str) -> bool:
    known = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}
    if text.lower() not in known:
        message = f"{name} must be true or false, not {text!r}"
        raise SettingsError(message)
    return known[text.lower()]


def _path(_name: str, text: str) -> Path:
    return Path(text)


def _hosts(text: str) -> frozenset[str]:
    hosts = frozenset(host.strip().lower() for host in text.split(",")) - {""}
    for host in hosts:
        if not _HOST_NAME.fullmatch(host):
            message = (
                "ENROLL_ALLOWED_HOSTS must be host names without port, such as "
                f"enroll.example.org, separated by commas, not {host[:100]!r}"
            )
            raise SettingsError(message)
    return hosts


def _choice(given: Mapping[str, str], name: str, known: tuple[str, ...], default: str) -> str:
    value = given.get(name, default).lower()
    if value not in known:
        message = f"{name} must be one of {', '.join(known)}, not {value!r}"
        raise SettingsError(message)
    return value


def _url(name: str, read: Callable[[str], str], text: str) -> str:
    try:
        return read(text)
    except ValueError as error:
        message = f"{name} {error}"
        raise SettingsError(message) from error


def _check_tokens(settings: Settings) -> None:
    keys = (settings.jwt_secret, settings.jwt_public_key, settings.jwt_jwks)
    if settings.jwt_issuer is None and not any(keys):
        return
    if settings.jwt_issuer is None or settings.jwt_audience is None:
        message = "tokens of an outside issuer need ENROLL_JWT_ISSUER and ENROLL_JWT_AUDIENCE"
        raise SettingsError(message)
    if sum(key is not None for key in keys) != 1:
        message = (
            "tokens of an outside issuer need exactly one of ENROLL_JWT_SECRET, "
            "ENROLL_JWT_PUBLIC_KEY, ENROLL_JWT_JWKS"
        )
        raise SettingsError(message)
