"""What ``enroll doctor`` looks at: settings, records, Redis, queue, gateway."""

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

from api_gateway.cli.context import REDIS_URL, settings_of, stack_environment
from enrollment.domain.errors import RecordsUnavailable
from enrollment.runtime.settings import Settings, SettingsError
from enrollment.storage import migrate
from enrollment.storage.engine import durability
from enrollment.storage.engine.sessions import sessions_for

OLDEST_REDIS = (6, 2)
_SECONDS = 3.0


class CheckResult(NamedTuple):
    """What was looked at, how it is, and what to do about it."""

    mark: Literal["ok", "note", "wrong"]
    what: str
    says: str
    advice: str = ""


def run_checks(data_dir: Path, url: str | None) -> Iterator[CheckResult]:
    """Look at everything, one after another."""
    try:
        settings = settings_of(data_dir)
    except SettingsError as error:
        yield CheckResult(
            "wrong", "settings", str(error), "`enroll doctor --settings` lists them all"
        )
        return
    yield CheckResult("ok", "settings", "every value is usable")
    yield from _check_test_settings(settings)
    yield from check_database(settings)
    given = stack_environment(data_dir)
    is_named = "ENROLL_REDIS_URL" in given or (data_dir / REDIS_URL).is_file()
    yield from check_redis(settings.redis_url, is_named=is_named)
    if settings.broker_url != settings.redis_url:
        yield check_broker(settings.broker_url)
    yield check_gateway(url or "http://127.0.0.1:8000", is_named=url is not None)


def _check_test_settings(settings: Settings) -> Iterator[CheckResult]:
    """What nobody sets where something must be kept."""
    if settings.accept_data_loss:
        advice = "unset it: with it the service runs where commits can be lost"
        yield CheckResult("note", "settings", "ENROLL_ACCEPT_DATA_LOSS is set", advice)
    if settings.failpoints:
        advice = "unset it: with it things are made to go wrong"
        yield CheckResult("note", "settings", "ENROLL_FAILPOINTS is set", advice)


def check_database(settings: Settings) -> Iterator[CheckResult]:
    """The database: does it answer, are the tables there, does it keep what it commits."""
    shown = make_url(settings.database_url).render_as_string(hide_password=True)
    file = make_url(settings.database_url).database
    if settings.database_url.startswith("sqlite") and not Path(str(file)).is_file():
        advice = "`enroll up` or `enroll db upgrade` makes it"
        yield CheckResult("note", "database", f"{shown} is not there yet", advice)
        return
    sessions = sessions_for(settings.database_url, pool_size=1)
    try:
        with sessions.read() as session:
            session.execute(text("SELECT 1"))
            yield CheckResult("ok", "database", f"{shown} answers")
            yield _tables(session)
            for fact in durability.load_durability_facts(session):
                yield CheckResult(fact.level, "durability", fact.message, fact.advice)
    except RecordsUnavailable as error:
        advice = "is it running, and is ENROLL_DATABASE_URL right?"
        yield CheckResult("wrong", "database", f"{shown}: {_one_line(error)}", advice)
    finally:
        sessions.dispose()


def _tables(session: Session) -> CheckResult:
    at = migrate.current(session)
    if migrate.is_current(session):
        return CheckResult("ok", "tables", f"at {at}")
    says = f"at {at or 'none'}, but this release needs {migrate.head()}"
    return CheckResult("wrong", "tables", says, "run `enroll db upgrade`")


def check_redis(url: str, *, is_named: bool) -> Iterator[CheckResult]:
    """Redis: does it answer, is it new enough, does it throw messages away."""
    try:
        with closing(_redis(url)) as client:
            client.ping()
            about = {**client.info("server"), **client.info("memory")}
    except redis.RedisError as error:
        if not is_named:
            says = "ENROLL_REDIS_URL is not set; `enroll up` brings a Redis of its own"
            yield CheckResult("note", "redis", says)
            return
        advice = "is it running, and is ENROLL_REDIS_URL right? Until it is back, work waits"
        yield CheckResult("wrong", "redis", _one_line(error), advice)
        return
    yield _redis_version(str(about.get("redis_version", "0")))
    yield _eviction(str(about.get("maxmemory_policy", "unknown")))


def _redis(url: str) -> redis.Redis:
    return redis.Redis.from_url(
        url, socket_timeout=_SECONDS, socket_connect_timeout=_SECONDS, retry=None
    )


def _redis_version(version: str) -> CheckResult:
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
    if numbers >= OLDEST_REDIS:
        return CheckResult("ok", "redis", f"version {version} answers")
    return CheckResult(
        "wrong", "redis", f"version {version}", "the queue needs 6.2 or newer, or Valkey"
    )


def _eviction(policy: str) -> CheckResult:
    if policy == "noeviction":
        return CheckResult("ok", "redis memory", f"maxmemory-policy is {policy}")
    advice = "set noeviction: else messages vanish when it is full, and work waits for the sweeper"
    return CheckResult("wrong", "redis memory", f"maxmemory-policy is {policy}", advice)


def check_broker(url: str) -> CheckResult:
    """The queue, where it is not the Redis above."""
    with Connection(url, connect_timeout=_SECONDS) as connection:
        shown = connection.as_uri()
        try:
            connection.ensure_connection(max_retries=1, timeout=int(_SECONDS))
        except OperationalError as error:
            advice = "is it running, and is ENROLL_BROKER_URL right?"
            return CheckResult("wrong", "broker", f"{shown}: {_one_line(error)}", advice)
    return CheckResult("ok", "broker", f"{shown} answers")


def check_gateway(url: str, *, is_named: bool) -> CheckResult:
    """A running service, if there is one."""
    try:
        answer = httpx.get(f"{url.rstrip('/')}/readyz", timeout=_SECONDS)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        says = f"no answer from {url}: {_one_line(error)}"
        advice = "`enroll up` or `enroll gateway` starts it; --url says where it is"
        return CheckResult("wrong" if is_named else "note", "gateway", says, advice)
    if not answer.is_success:
        advice = "the checks above, on the gateway's machine, say why"
        return CheckResult("wrong", "gateway", f"{url} is not ready: {answer.text[:300]}", advice)
    state = "degraded" if "degraded" in answer.text else "ready"
    mark: Literal["ok", "note"] = "ok" if state == "ready" else "note"
    return CheckResult(
        mark, "gateway", f"{url} is {state}", "" if mark == "ok" else answer.text[:300]
    )


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
