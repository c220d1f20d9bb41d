"""Settings: the only module that reads the environment; others receive values."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from functools import partial
from pathlib import Path

from enrollment.domain.events import MAX_ORDINAL
from enrollment.runtime import server_urls, setting_names, setting_values
from enrollment.runtime.setting_values import Rate

#: The longest wait for an outcome, in seconds.
MAX_WAIT_SECONDS = 60.0

_40_A_MINUTE, _60_A_MINUTE, _120_A_MINUTE = (Rate(amount, 60) for amount in (40, 60, 120))


class SettingsError(ValueError):
    """A setting is missing or invalid; the message names it and the correction."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Validated settings. Secrets are not part of the repr."""

    database_url: str = field(repr=False)
    redis_url: str = field(repr=False)
    broker_url: str = field(repr=False)
    data_dir: Path = Path(".enroll")
    request_stream: str | None = None
    reply_prefix: str | None = None
    default_wait: float = 0.0
    default_mode: str = "audit"
    accepts_unknown_learners: bool = True
    self_unenroll: bool = False
    edx_api_key: str | None = field(default=None, repr=False)
    oauth_clients: tuple[setting_values.OAuthClientSetting, ...] = field(default=(), repr=False)
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
    encryption_key: tuple[str, ...] = field(default=(), repr=False)
    private_destinations: bool = False
    webhook_challenge: bool = True
    max_webhooks: int = 100
    max_upload_bytes: int = 1_000_000_000
    max_upload_rows: int = 2_000_000
    max_json_bytes: int = 16_000_000
    max_atomic_rows: int = 10_000
    batch_rows: int = 1_000
    max_connections: int = 10_000
    max_connections_per_address: int | None = None
    throttle: bool = True
    #: None for unlimited, here and below.
    throttle_learners: Rate | None = _40_A_MINUTE
    throttle_staff: Rate | None = _120_A_MINUTE
    throttle_keys: Rate | None = None
    throttle_anonymous: Rate | None = _40_A_MINUTE
    throttle_tokens: Rate | None = _60_A_MINUTE
    throttle_failures: Rate | None = _60_A_MINUTE
    trusted_proxies: tuple[str, ...] = ()
    #: Lower case; empty for any.
    allowed_hosts: frozenset[str] = frozenset()
    #: As browsers send them; empty for none.
    cors_origins: frozenset[str] = frozenset()
    hsts_seconds: float | None = None
    max_uploads_per_caller: int = 4
    max_streams_per_caller: int = 2_000
    max_long_polls_per_caller: int = 2_000
    max_pending_rows_per_caller: int = 10_000_000
    event_stream: str | None = None
    event_stream_length: int = 100_000
    event_bus: bool = False
    event_bus_url: str | None = field(default=None, repr=False)
    event_bus_prefix: str = ""
    event_bus_created_topic: str = "course-enrollment-lifecycle"
    event_bus_changed_topic: str = "course-enrollment-lifecycle"
    event_bus_unenrollment_topic: str = "course-unenrollment-lifecycle"
    event_bus_catalog: bool = False
    event_bus_catalog_topic: str = "course-catalog-info-changed"
    retention_days: int = 30
    log_level: str = "info"
    access_log: bool = True
    metrics_port: setting_values.ListenAddress | None = None
    celery_remote: bool = False
    accept_data_loss: bool = False
    failpoints: str = ""


def sqlite_url(data_dir: Path) -> str:
    """Returns the URL of the embedded default database."""
    return f"sqlite:///{data_dir / 'enrollment.sqlite3'}"


def from_env(
    environ: Mapping[str, str] | None = None, *, requires_database: bool = False
) -> Settings:
    """Reads and validates the settings; `environ` defaults to `os.environ`.

    `requires_database`: without ENROLL_DATABASE_URL there is no default. Raises SettingsError with
    the variable, the problem and the valid values.
    """
    source = os.environ if environ is None else environ
    check_variables(source)
    given = {name: source[name] for name in names_set(source)}
    if requires_database and "ENROLL_DATABASE_URL" not in given:
        message = (
            "ENROLL_DATABASE_URL is not set: name the database, such as "
            "postgresql+psycopg://enroll@db.example.org:5432/enroll. Only `enroll up` has one of "
            "its own"
        )
        raise SettingsError(message)
    redis_url = given.get("ENROLL_REDIS_URL", "redis://127.0.0.1:6379/0")
    data_dir = Path(given.get("ENROLL_DATA_DIR", ".enroll"))
    given.setdefault("ENROLL_DATABASE_URL", sqlite_url(data_dir))
    given["ENROLL_REDIS_URL"] = redis_url
    given.setdefault("ENROLL_BROKER_URL", redis_url)
    values = {
        each.name: _read(name, each.type, given[name])
        for each in fields(Settings)
        if (name := variable_of(each.name)) in given
    }
    settings = Settings(**values)  # type: ignore[arg-type]
    _check_tokens(settings)
    _check_failpoints(settings)
    return settings


def variable_of(field_name: str) -> str:
    """Returns the name of the variable of a field of `Settings`."""
    return _RENAMED.get(field_name, "ENROLL_" + field_name.upper())


def names_set(environ: Mapping[str, str] | None = None) -> list[str]:
    """Returns the names of the settings that are set, in the order of their descriptions."""
    source = os.environ if environ is None else environ
    return [name for name in setting_names.VARIABLES if source.get(name, "") != ""]


def misspelt_names(environ: Mapping[str, str] | None = None) -> dict[str, str | None]:
    """Returns the variables that are no settings, with the nearest name of one or None."""
    return setting_names.unknown_names(
        os.environ if environ is None else environ, setting_names.VARIABLES
    )


def check_variables(environ: Mapping[str, str] | None = None) -> None:
    """Checks that every variable of this service is a setting. Raises SettingsError."""
    unknown = misspelt_names(environ)
    if not unknown:
        return
    sentences = [
        f"{name} is not a setting" + (f": did you mean {nearest}?" if nearest else ".")
        for name, nearest in unknown.items()
    ]
    message = " ".join([*sentences, "`enroll doctor --settings` lists all settings."])
    raise SettingsError(message)


#: Variables whose names are not those of their fields.
_RENAMED = {"accepts_unknown_learners": "ENROLL_UNKNOWN_LEARNERS"}
#: The longest retention, in days: a later date could not be computed.
_MAX_RETENTION_DAYS = 36_500
#: Readers of single settings; all others are read by their type.
_READERS: Mapping[str, Callable[[str], object]] = {
    "ENROLL_DATABASE_URL": server_urls.database_url,
    "ENROLL_REDIS_URL": server_urls.redis_url,
    "ENROLL_BROKER_URL": server_urls.broker_url,
    "ENROLL_REQUEST_STREAM": setting_values.stream_name,
    "ENROLL_REPLY_PREFIX": setting_values.stream_name,
    "ENROLL_EVENT_BUS_URL": server_urls.redis_url,
    "ENROLL_DEFAULT_WAIT": partial(setting_values.number, maximum=MAX_WAIT_SECONDS),
    "ENROLL_DEFAULT_MODE": setting_values.mode,
    "ENROLL_UNKNOWN_LEARNERS": setting_values.acceptance,
    "ENROLL_EDX_API_KEY": setting_values.api_key,
    "ENROLL_OAUTH_CLIENTS": setting_values.oauth_clients,
    "ENROLL_ENCRYPTION_KEY": setting_values.encryption_keys,
    "ENROLL_THROTTLE": setting_values.switch,
    "ENROLL_THROTTLE_LEARNERS": setting_values.rate,
    "ENROLL_THROTTLE_STAFF": setting_values.rate,
    "ENROLL_THROTTLE_KEYS": setting_values.rate,
    "ENROLL_THROTTLE_ANONYMOUS": setting_values.rate,
    "ENROLL_THROTTLE_TOKENS": setting_values.rate,
    "ENROLL_THROTTLE_FAILURES": setting_values.rate,
    "ENROLL_TRUSTED_PROXIES": setting_values.networks,
    "ENROLL_MAX_ATOMIC_ROWS": partial(setting_values.positive_integer, maximum=MAX_ORDINAL),
    "ENROLL_BATCH_ROWS": partial(setting_values.positive_integer, maximum=MAX_ORDINAL),
    "ENROLL_ALLOWED_HOSTS": setting_values.host_names,
    "ENROLL_CORS_ORIGINS": setting_values.origins,
    "ENROLL_RETENTION_DAYS": partial(setting_values.positive_integer, maximum=_MAX_RETENTION_DAYS),
    "ENROLL_METRICS_PORT": setting_values.listen_address,
    "ENROLL_LOG_LEVEL": setting_values.log_level,
    "ENROLL_FAILPOINTS": setting_values.fail_points,
}
_READERS_BY_TYPE: Mapping[object, Callable[[str], object]] = {
    float: setting_values.number,
    int: setting_values.positive_integer,
    bool: setting_values.flag,
    Path: setting_values.path,
}


def _read(name: str, annotation: object, text: str) -> object:
    """Reads the value of a variable. Raises SettingsError."""
    reader = _READERS.get(name)
    if reader is None:
        types = getattr(annotation, "__args__", (annotation,))
        known = (_READERS_BY_TYPE[kind] for kind in types if kind in _READERS_BY_TYPE)
        reader = next(known, setting_values.plain_text)
    try:
        setting_values.check_characters(text)
        return reader(text)
    except ValueError as error:
        message = f"{name} {error}"
        raise SettingsError(message) from error


def _check_tokens(settings: Settings) -> None:
    keys = (settings.jwt_secret, settings.jwt_public_key, settings.jwt_jwks)
    named = (settings.jwt_issuer, settings.jwt_audience)
    if not any((*named, *keys, settings.jwt_algorithm)):
        return
    if None in named:
        message = "tokens of an outside issuer need ENROLL_JWT_ISSUER and ENROLL_JWT_AUDIENCE"
        raise SettingsError(message)
    if sum(key is not None for key in keys) != 1:
        message = (
            "tokens of an outside issuer need exactly one of ENROLL_JWT_SECRET, "
            "ENROLL_JWT_PUBLIC_KEY, ENROLL_JWT_JWKS"
        )
        raise SettingsError(message)


def _check_failpoints(settings: Settings) -> None:
    if settings.failpoints and not settings.accept_data_loss:
        message = (
            "ENROLL_FAILPOINTS injects faults, which can lose data: unset it, or set "
            "ENROLL_ACCEPT_DATA_LOSS=true in a test"
        )
        raise SettingsError(message)
