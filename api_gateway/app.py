"""Composition root: makes the parts of the gateway and the ASGI application."""

import asyncio
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import falcon.asgi
import structlog
from celery import Celery
from falcon.asgi import Request, Response

from api_gateway.auth.authentication import Authenticator
from api_gateway.auth.caller_throttle import CallerThrottle
from api_gateway.auth.links.link_tokens import LinkTokens
from api_gateway.auth.middleware import AuthMiddleware
from api_gateway.auth.permissions import PERMISSIONS, PUBLIC
from api_gateway.auth.signing.shared_key import SharedSigningKey
from api_gateway.broker_probe import BrokerProbe, broker_ping
from api_gateway.console.console import make_console
from api_gateway.cors import share_with
from api_gateway.course_details_cache import CourseDetailsCache
from api_gateway.database import Database, ListReader
from api_gateway.http import error_handlers
from api_gateway.http.disconnects import track_disconnects
from api_gateway.http.draining import Draining
from api_gateway.http.header_limits import limit_headers
from api_gateway.http.headers import GatewayRequest
from api_gateway.http.observation.access_log import AccessLog
from api_gateway.http.observation.request_traces import trace_requests
from api_gateway.http.query_parameters import QueryParameters
from api_gateway.http.response_headers import add_headers
from api_gateway.intake.dispatcher import Dispatcher, Send, batch_sender
from api_gateway.intake.group_commit import GroupCommitter
from api_gateway.intake.upload_store import UploadStore
from api_gateway.openapi.query_parameters import declared_parameters
from api_gateway.parts import Parts
from api_gateway.reads.enrollment_reads import EnrollmentReads
from api_gateway.resource_factory import make_resources
from api_gateway.routes import ROUTES, V1, is_for_v1
from api_gateway.streams import make_streams
from api_gateway.throttle.redis_windows import RedisWindows
from api_gateway.throttle.throttle import Throttle
from enrollment.domain.errors import DatabaseUnavailable, NotDurable
from enrollment.runtime.broker import broker_settings
from enrollment.runtime.cache import Cache, connect
from enrollment.runtime.completion_channel import CompletionPublisher
from enrollment.runtime.gc_tuning import relax_gc
from enrollment.runtime.metrics.instruments import describe_process
from enrollment.runtime.process_record import log_ready
from enrollment.runtime.settings import Settings
from enrollment.runtime.tracing.process_traces import stop_traces
from enrollment.storage import migrate
from enrollment.storage.engine.durability import check_at_start, durable_sessions
from enrollment.storage.engine.sessions import Sessions
from schemas.files.source import Limits

log = structlog.get_logger()

#: Threads for reads and small writes.
DATABASE_THREADS = 4
#: Threads for single requests: they share one commit, so one is busy and one is in reserve.
INTAKE_THREADS = 2
#: Threads that split and store uploads.
UPLOAD_THREADS = 2
#: Seconds after which a thread lets another one run (Python's default is 0.005): after each of its
#: statements a database thread waits so long for the busy event loop.
SWITCH_INTERVAL_SECONDS = 0.0005
#: Threads that look up credentials, and that read lists.
AUTH_THREADS = LIST_THREADS = 1
#: Threads of group reads: one query of each kind runs at a time.
READ_THREADS = 2
#: Most connections to the database of a gateway process. Each thread has one, so none waits for the
#: statement of another one.
GATEWAY_CONNECTIONS = sum(
    [DATABASE_THREADS, INTAKE_THREADS, UPLOAD_THREADS, AUTH_THREADS, LIST_THREADS, READ_THREADS]
)


def utc_now() -> datetime:
    """Returns the current time of this machine."""
    return datetime.now(UTC)


def make_parts(
    settings: Settings,
    *,
    send: Send | None = None,
    draining: Draining | None = None,
    wall_clock: Callable[[], float] = time.time,
) -> Parts:
    """Makes every part; connects and starts nothing. Raises SettingsError.

    `send` replaces the sender to the broker, `wall_clock` is the throttle's.
    """
    database, intake_database, auth_database, lists = _databases(_sessions(settings))
    dispatcher = Dispatcher(send or _broker_sender(settings))
    links = LinkTokens(Authenticator(auth_database, settings, time.monotonic))
    streams = make_streams(settings, database, lists, links.identify, dispatcher)
    pool = ThreadPoolExecutor(UPLOAD_THREADS, thread_name_prefix="uploads")
    group_commit = GroupCommitter(intake_database, dispatcher)
    return Parts(
        settings=settings,
        database=database,
        intake_database=intake_database,
        auth_database=auth_database,
        lists=lists,
        reads=EnrollmentReads(Database(database.sessions, threads=READ_THREADS), utc_now),
        group_commit=group_commit,
        upload_store=_upload_store(settings, database.sessions, dispatcher, group_commit, pool),
        uploads_pool=pool,
        dispatcher=dispatcher,
        waiters=streams.waiters,
        status_reader=streams.reader,
        event_streams=streams.progress,
        change_streams=streams.changes,
        details=CourseDetailsCache(database, Cache(connect(settings.redis_url)), now=utc_now),
        link_tokens=links,
        shared_key=SharedSigningKey(settings, database, links.authenticator.own_keys),
        throttle=_throttle(settings, wall_clock),
        ping_redis=CompletionPublisher(settings.redis_url).ping,
        broker=_broker_probe(settings),
        draining=streams.released_by(draining or Draining()),
        now=utc_now,
    )


def _throttle(settings: Settings, wall_clock: Callable[[], float]) -> CallerThrottle:
    windows = RedisWindows(settings.redis_url, clock=time.monotonic)
    return CallerThrottle(Throttle(windows, wall_clock), settings)


def _databases(sessions: Sessions) -> tuple[Database, Database, Database, ListReader]:
    """Returns the thread pools: reads and small writes, single requests, credentials, lists."""
    return (
        Database(sessions, threads=DATABASE_THREADS),
        Database(sessions, threads=INTAKE_THREADS),
        Database(sessions, threads=AUTH_THREADS),
        ListReader(sessions, threads=LIST_THREADS),
    )


def _sessions(settings: Settings) -> Sessions:
    return durable_sessions(
        settings.database_url, pool_size=GATEWAY_CONNECTIONS, accepts_loss=settings.accept_data_loss
    )


def _broker_sender(settings: Settings) -> Send:
    """Returns a function that sends batch ids to the broker; it connects when first used."""
    app = Celery("enroll", set_as_current=False)
    app.conf.update(broker_settings(settings.broker_url, client="enroll-gateway"))
    return batch_sender(app)


def _upload_store(
    settings: Settings,
    sessions: Sessions,
    dispatcher: Dispatcher,
    group_commit: GroupCommitter,
    pool: ThreadPoolExecutor,
) -> UploadStore:
    return UploadStore(
        sessions=sessions,
        dispatcher=dispatcher,
        limits=Limits(
            max_bytes=settings.max_upload_bytes,
            max_rows=settings.max_upload_rows,
            max_json_bytes=settings.max_json_bytes,
            batch_rows=settings.batch_rows,
        ),
        max_atomic_rows=settings.max_atomic_rows,
        group_commit=group_commit,
        pool=pool,
    )


def _broker_probe(settings: Settings) -> BrokerProbe | None:
    """Returns the probe of the broker; None if Redis is the broker, which is probed anyway."""
    is_redis = settings.broker_url == settings.redis_url
    return None if is_redis else BrokerProbe(broker_ping(settings.broker_url))


class Lifespan:
    """Falcon middleware that starts the parts with the server and stops them with it."""

    def __init__(self, parts: Parts, access_log: AccessLog | None = None) -> None:
        self._parts = parts
        self._access_log = access_log

    async def process_startup(self, scope: Any, event: Any) -> None:
        """Checks the database, then starts the dispatcher and the waiters.

        Raises NotDurable, LaterRelease: a gateway does not start on a database that loses commits,
        or on tables that it does not know.
        """
        relax_gc()
        sys.setswitchinterval(SWITCH_INTERVAL_SECONDS)
        await self._check_database()
        self._parts.dispatcher.start()
        self._parts.waiters.start()
        describe_process("gateway")
        log_ready(self._parts.settings)

    async def _check_database(self) -> None:
        """Checks the database; sees to the signing key and the users of configured clients.

        Logs if the database cannot be reached, as it may come back.

        Raises NotDurable, LaterRelease.
        """
        database = self._parts.database
        try:
            await database.run(lambda: check_at_start(database.sessions))
            await database.run(lambda: migrate.check_at_start(database.sessions))
            await self._parts.shared_key.ensure()
            if self._parts.settings.oauth_clients and not await database.read(migrate.defect):
                await self._parts.authenticator.clients.register_configured_users()
        except NotDurable:
            raise
        except DatabaseUnavailable as error:
            log.warning("records.unreachable", because=str(error))

    async def process_shutdown(self, scope: Any, event: Any) -> None:
        """Stops the parts, after the work in progress."""
        parts = self._parts
        if self._access_log is not None:
            self._access_log.write()
        await parts.waiters.stop()
        await parts.change_streams.reader.stop()
        await parts.throttle.close()
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(None, parts.dispatcher.stop)
        await loop.run_in_executor(None, parts.uploads_pool.shutdown)
        await loop.run_in_executor(None, parts.details.close)
        await loop.run_in_executor(None, parts.reads.close)
        for database in (
            parts.intake_database,
            parts.auth_database,
            parts.lists,
            parts.database,
        ):
            await loop.run_in_executor(None, database.close)
        await loop.run_in_executor(None, stop_traces)


def make_asgi_app(parts: Parts) -> Any:
    """Makes the ASGI application."""
    settings = parts.settings
    resources = make_resources(parts)
    console = make_console(parts, resources)
    access_log = _access_log(settings)
    app: falcon.asgi.App[Request, Response] = falcon.asgi.App(
        middleware=[
            AuthMiddleware(
                parts.link_tokens,
                parts.throttle,
                {template: name for name, template in ROUTES.items()},
                _public_templates(),
                QueryParameters(declared_parameters(ROUTES, V1)),
                settings.allowed_hosts,
                console.gate,
            ),
            Lifespan(parts, access_log),
        ],
        request_type=GatewayRequest,
    )
    app.req_options.strip_url_path_trailing_slash = True
    app.req_options.auto_parse_qs_csv = False
    # Responses without a body have no type: clients would parse an empty body as JSON.
    app.resp_options.default_media_type = None  # type: ignore[assignment]
    error_handlers.install(app, is_for_v1, console.write_problem)
    for name, resource in resources.items():
        app.add_route(ROUTES[name], resource)
    for page in console.pages:
        app.add_route(page.template, page.resource)
    shared = share_with(limit_headers(app), settings.cors_origins)
    return trace_requests(track_disconnects(add_headers(shared, settings.hsts_seconds, access_log)))


def _access_log(settings: Settings) -> AccessLog | None:
    """Returns the log of requests; None where the settings ask for none."""
    is_logged = settings.access_log and settings.log_level in {"debug", "info"}
    return AccessLog() if is_logged else None


def _public_templates() -> frozenset[str]:
    """Returns the URI templates of the routes that need no credentials for any method."""
    private = {route for (route, _), needed in PERMISSIONS.items() if needed != PUBLIC}
    return frozenset(template for route, template in ROUTES.items() if route not in private)
