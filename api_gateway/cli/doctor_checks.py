"""The checks of `enroll doctor`: settings, database, Redis, broker, gateway."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Literal, NamedTuple

import httpx
import redis
from kombu import Connection
from kombu.exceptions import OperationalError
from sqlalchemy import text
from sqlalchemy.engine import make_url
from sqlalchemy.orm import Session

from api_gateway.cli.context import REDIS_URL_FILE, load_settings, stack_environment
from api_gateway.server.listening import descriptor_limits, max_open_connections
from enrollment.domain.errors import DatabaseUnavailable
from enrollment.runtime import server_urls
from enrollment.runtime.settings import Settings, SettingsError
from enrollment.storage import migrate
from enrollment.storage.engine import durability
from enrollment.storage.engine.sessions import sessions_for

#: Oldest supported version of Redis.
MIN_REDIS_VERSION = (6, 2)
#: Time limit of each connection, in seconds.
_TIMEOUT_SECONDS = 3.0


class CheckResult(NamedTuple):
    """The result of one check, with advice if there is something to do."""

    mark: Literal["ok", "note", "wrong"]
    subject: str
    message: str
    advice: str = ""


def run_checks(data_dir: Path, url: str | None) -> Iterator[CheckResult]:
    """Runs all checks, one after another; only the first if the settings are invalid."""
    try:
        settings = load_settings(data_dir)
    except SettingsError as error:
        yield CheckResult(
            "wrong", "settings", str(error), "`enroll doctor --settings` lists all settings"
        )
        return
    yield CheckResult("ok", "settings", "all values are valid")
    yield from _check_test_settings(settings)
    environment = stack_environment(data_dir)
    yield from check_database(settings)
    yield from check_tls(settings.database_url, environment.get("PGSSLMODE"))
    is_named = "ENROLL_REDIS_URL" in environment or (data_dir / REDIS_URL_FILE).is_file()
    yield from check_redis(settings.redis_url, is_named=is_named)
    if settings.broker_url != settings.redis_url:
        yield from map(check_broker, settings.broker_url.split(";"))
    yield check_descriptors(settings.max_connections)
    yield check_gateway(url or "http://127.0.0.1:8000", is_named=url is not None)


def _check_test_settings(settings: Settings) -> Iterator[CheckResult]:
    """Reports settings that are for tests only."""
    if settings.accept_data_loss:
        advice = "unset it: the service then refuses a database that can lose commits"
        yield CheckResult("note", "settings", "ENROLL_ACCEPT_DATA_LOSS is set", advice)
    if settings.failpoints:
        advice = "unset it: it injects faults"
        yield CheckResult("note", "settings", "ENROLL_FAILPOINTS is set", advice)


def check_database(settings: Settings) -> Iterator[CheckResult]:
    """Checks that the database answers, is migrated, and is durable."""
    safe_url = make_url(settings.database_url).render_as_string(hide_password=True)
    file = make_url(settings.database_url).database
    if settings.database_url.startswith("sqlite") and not Path(str(file)).is_file():
        advice = "`enroll up` or `enroll db upgrade` creates it"
        yield CheckResult("note", "database", f"{safe_url} does not exist yet", advice)
        return
    sessions = sessions_for(settings.database_url, pool_size=1)
    try:
        with sessions.read() as session:
            session.execute(text("SELECT 1"))
            yield CheckResult("ok", "database", f"{safe_url} answers")
            yield _check_migrations(session)
            for fact in durability.load_durability_facts(session, inspects_pooler=True):
                yield CheckResult(fact.level, "durability", fact.message, fact.advice)
    except DatabaseUnavailable as error:
        advice = "check that it runs and ENROLL_DATABASE_URL is right"
        yield CheckResult("wrong", "database", f"{safe_url}: {_one_line(error)}", advice)
    finally:
        sessions.dispose()


def check_tls(database_url: str, sslmode: str | None) -> Iterator[CheckResult]:
    """Reports hosts of PostgreSQL that are reached over a network and not verified."""
    if hosts := server_urls.unverified_hosts(database_url, sslmode):
        message = f"the connection to {', '.join(hosts)} does not verify the server's certificate"
        advice = "add ?sslmode=verify-full&sslrootcert=FILE to ENROLL_DATABASE_URL"
        yield CheckResult("note", "database", message, advice)


def _check_migrations(session: Session) -> CheckResult:
    if defect := migrate.defect(session):
        return CheckResult("wrong", "tables", defect)
    return CheckResult("ok", "tables", f"at {migrate.current(session)}")


def check_redis(url: str, *, is_named: bool) -> Iterator[CheckResult]:
    """Checks that Redis answers, is recent enough, and does not evict messages."""
    try:
        with closing(_connect_redis(url)) as client:
            client.ping()
            info = {**client.info("server"), **client.info("memory")}
    except redis.RedisError as error:
        if not is_named:
            message = "ENROLL_REDIS_URL is not set; `enroll up` starts an embedded Redis"
            yield CheckResult("note", "redis", message)
            return
        advice = "check that it runs and ENROLL_REDIS_URL is right; until then requests wait"
        yield CheckResult("wrong", "redis", _one_line(error), advice)
        return
    yield _check_redis_version(str(info.get("redis_version", "0")))
    yield _check_eviction_policy(str(info.get("maxmemory_policy", "unknown")))


def _connect_redis(url: str) -> redis.Redis:
    return redis.Redis.from_url(
        url, socket_timeout=_TIMEOUT_SECONDS, socket_connect_timeout=_TIMEOUT_SECONDS, retry=None
    )


def _check_redis_version(version: str) -> CheckResult:
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
    if numbers >= MIN_REDIS_VERSION:
        return CheckResult("ok", "redis", f"version {version} answers")
    return CheckResult(
        "wrong", "redis", f"version {version}", "the queue needs 6.2 or newer, or Valkey"
    )


def _check_eviction_policy(policy: str) -> CheckResult:
    if policy == "noeviction":
        return CheckResult("ok", "redis memory", f"maxmemory-policy is {policy}")
    advice = "set noeviction: a full Redis drops messages, and batches wait for re-dispatch"
    return CheckResult("wrong", "redis memory", f"maxmemory-policy is {policy}", advice)


def check_broker(url: str) -> CheckResult:
    """Checks that a broker other than Redis answers."""
    with Connection(url, connect_timeout=_TIMEOUT_SECONDS) as connection:
        safe_url = connection.as_uri()
        try:
            connection.ensure_connection(max_retries=1, timeout=int(_TIMEOUT_SECONDS))
        except OperationalError as error:
            advice = "check that it runs and ENROLL_BROKER_URL is right"
            return CheckResult("wrong", "broker", f"{safe_url}: {_one_line(error)}", advice)
    return CheckResult("ok", "broker", f"{safe_url} answers")


def check_descriptors(max_connections: int) -> CheckResult:
    """Checks that a gateway started from here may open as many files as it has connections."""
    limit = descriptor_limits().hard
    allowed = max_open_connections(max_connections, limit)
    if allowed == max_connections:
        return CheckResult("ok", "open files", f"enough for {max_connections} connections")
    message = f"at most {limit}: a gateway accepts {allowed} connections, not {max_connections}"
    advice = "raise the limit (ulimit -Hn, LimitNOFILE), or lower ENROLL_MAX_CONNECTIONS"
    return CheckResult("note", "open files", message, advice)


def check_gateway(url: str, *, is_named: bool) -> CheckResult:
    """Checks whether a gateway runs, and its readiness."""
    try:
        response = httpx.get(f"{url.rstrip('/')}/readyz", timeout=_TIMEOUT_SECONDS)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        message = f"no response from {url}: {_one_line(error)}"
        advice = "`enroll up` or `enroll gateway` starts it; --url names another address"
        return CheckResult("wrong" if is_named else "note", "gateway", message, advice)
    if not response.is_success:
        advice = "run `enroll doctor` on the machine of the gateway"
        return CheckResult("wrong", "gateway", f"{url} is not ready: {response.text[:300]}", advice)
    state = "degraded" if "degraded" in response.text else "ready"
    mark: Literal["ok", "note"] = "ok" if state == "ready" else "note"
    return CheckResult(
        mark, "gateway", f"{url} is {state}", "" if mark == "ok" else response.text[:300]
    )


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
