"""The checks of `enroll doctor`: settings, database, Redis, broker, machine, gateway."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import redis
from amqp import AMQPError
from kombu.exceptions import KombuError
from sqlalchemy import text
from sqlalchemy.engine import make_url
from sqlalchemy.orm import Session

from api_gateway.app import GATEWAY_CONNECTIONS
from api_gateway.broker_probe import broker_ping
from api_gateway.cli.checks.check_result import CheckResult, one_line
from api_gateway.cli.checks.gateway_check import check_gateway
from api_gateway.cli.checks.process_checks import check_beside, check_inbound
from api_gateway.cli.checks.signing_checks import check_clients, check_signing_key
from api_gateway.cli.context import (
    REDIS_URL_FILE,
    check_settings,
    load_settings,
    stack_environment,
)
from api_gateway.server.listening import descriptor_limits, max_open_connections
from api_gateway.status.health.inbound_backlog import make_inbound_probe
from enrollment.domain.errors import DatabaseUnavailable
from enrollment.runtime import server_urls
from enrollment.runtime.redis_servers.pools import pool
from enrollment.runtime.settings import Settings, SettingsError, names_set
from enrollment.storage import migrate
from enrollment.storage.engine import durability
from enrollment.storage.engine.dialect import is_postgresql
from enrollment.storage.engine.engines import WORKER_CONNECTIONS
from enrollment.storage.engine.server_facts import MIN_POSTGRESQL, ServerFacts, load_server_facts
from enrollment.storage.engine.sessions import sessions_for

#: Oldest supported version of Redis.
MIN_REDIS_VERSION = (6, 2)
#: Difference between two clocks from which times in outcomes and tokens are wrong.
MAX_CLOCK_OFFSET = timedelta(seconds=2)
#: Free bytes below which a folder that holds the database is nearly full.
MIN_FREE_BYTES = 1_000_000_000
#: Time limit of each connection, in seconds.
_TIMEOUT_SECONDS = 3.0


def run_checks(data_dir: Path, url: str | None) -> Iterator[CheckResult]:
    """Runs all checks, one after another; only the first if the settings are invalid."""
    try:
        settings = load_settings(data_dir)
        check_settings(settings)
    except SettingsError as error:
        yield CheckResult(
            "wrong", "settings", str(error), "`enroll doctor --settings` lists all settings"
        )
        return
    yield CheckResult("ok", "settings", "all values are valid")
    yield from _check_test_settings(settings)
    yield from check_clients(settings)
    given = names_set()
    if "ENROLL_DATABASE_URL" not in given:
        advice = "set it for gateway, worker and beat, which do not start without it"
        yield CheckResult("note", "settings", "ENROLL_DATABASE_URL is not set", advice)
    yield from check_database(settings)
    yield from check_tls(settings.database_url, stack_environment(data_dir).get("PGSSLMODE"))
    is_named = "ENROLL_REDIS_URL" in given or (data_dir / REDIS_URL_FILE).is_file()
    yield from check_redis(settings.redis_url, is_named=is_named)
    yield from check_inbound(make_inbound_probe(settings))
    if settings.broker_url != settings.redis_url:
        yield from map(check_broker, settings.broker_url.split(";"))
    yield from check_disk(settings)
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
            if migrate.defect(session) == "":
                yield from check_signing_key(settings, session)
                yield from check_beside(session, settings)
            if is_postgresql(session):
                yield from check_server(load_server_facts(session))
    except DatabaseUnavailable as error:
        advice = "check that it runs and ENROLL_DATABASE_URL is right"
        if "unsupported startup parameter" in str(error):
            advice = "set `ignore_startup_parameters = options` in PgBouncer, as operations.md says"
        yield CheckResult("wrong", "database", f"{safe_url}: {one_line(error)}", advice)
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


def check_server(facts: ServerFacts) -> Iterator[CheckResult]:
    """Checks the version, the free connections and the clock of a PostgreSQL server."""
    if facts.major < MIN_POSTGRESQL:
        advice = f"upgrade it to PostgreSQL {MIN_POSTGRESQL} or newer"
        yield CheckResult("wrong", "server", f"PostgreSQL {facts.version}", advice)
    else:
        yield CheckResult("ok", "server", f"PostgreSQL {facts.version}")
    free = facts.max_connections - facts.connections
    message = f"{facts.connections} of {facts.max_connections} are open"
    if free < GATEWAY_CONNECTIONS + WORKER_CONNECTIONS:
        advice = (
            f"raise max_connections, or use a pooler: a gateway opens {GATEWAY_CONNECTIONS}, "
            f"a worker {WORKER_CONNECTIONS}"
        )
        yield CheckResult("note", "connections", message, advice)
    else:
        yield CheckResult("ok", "connections", message)
    seconds = facts.clock_offset.total_seconds()
    if abs(facts.clock_offset) > MAX_CLOCK_OFFSET:
        message = (
            f"that of the database is {abs(seconds):.1f} s {'ahead' if seconds > 0 else 'behind'}"
        )
        yield CheckResult("note", "clock", message, "synchronise the clocks of all machines (NTP)")
    else:
        yield CheckResult("ok", "clock", "agrees with that of the database")


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
        yield CheckResult("wrong", "redis", one_line(error), advice)
        return
    yield _check_redis_version(str(info.get("redis_version", "0")))
    yield _check_eviction_policy(str(info.get("maxmemory_policy", "unknown")))


def _connect_redis(url: str) -> redis.Redis:
    timeouts = {"socket_timeout": _TIMEOUT_SECONDS, "socket_connect_timeout": _TIMEOUT_SECONDS}
    return redis.Redis.from_pool(pool(redis.ConnectionPool, url, retry=None, **timeouts))


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
    """Checks that another broker than the Redis above answers."""
    safe_url = server_urls.without_secrets(url)
    try:
        broker_ping(url)()
    except (AMQPError, KombuError, OSError, redis.RedisError) as error:
        advice = "check that it runs and ENROLL_BROKER_URL is right"
        return CheckResult("wrong", "broker", f"{safe_url}: {one_line(error)}", advice)
    return CheckResult("ok", "broker", f"{safe_url} answers")


def check_disk(settings: Settings) -> Iterator[CheckResult]:
    """Checks the free space of the temporary folder, and of the folder of an SQLite file."""
    yield _check_free_space(
        "the temporary folder",
        Path(tempfile.gettempdir()),
        settings.max_upload_bytes,
        "uploads of up to ENROLL_MAX_UPLOAD_BYTES are kept there: free space, or set TMPDIR",
    )
    url = make_url(settings.database_url)
    folder = Path(url.database or "").absolute().parent
    if url.get_backend_name() == "sqlite" and folder.is_dir():
        advice = "free space: the database refuses writes when it is full"
        yield _check_free_space("the folder of the database", folder, MIN_FREE_BYTES, advice)


def _check_free_space(name: str, folder: Path, needed: int, advice: str) -> CheckResult:
    free = shutil.disk_usage(folder).free
    message = f"{free / 1e9:.1f} GB free in {name}"
    if free < needed:
        return CheckResult("note", "disk", f"{message} ({folder})", advice)
    return CheckResult("ok", "disk", message)


def check_descriptors(max_connections: int) -> CheckResult:
    """Checks that a gateway started from here may open as many files as it has connections."""
    limit = descriptor_limits().hard
    allowed = max_open_connections(max_connections, limit)
    if allowed == max_connections:
        return CheckResult("ok", "open files", f"enough for {max_connections} connections")
    message = f"at most {limit}: a gateway accepts {allowed} connections, not {max_connections}"
    advice = "raise the limit (ulimit -Hn, LimitNOFILE), or lower ENROLL_MAX_CONNECTIONS"
    return CheckResult("note", "open files", message, advice)
