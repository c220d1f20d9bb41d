"""The gateway put together: what it is made of, and which URL leads where."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import falcon.asgi
import structlog
from celery import Celery
from falcon.asgi import Request, Response

from api_gateway import errors
from api_gateway.authentication import Authenticator
from api_gateway.course_details import CourseDetails
from api_gateway.following import Following
from api_gateway.gate import Gate
from api_gateway.heads import minding_heads
from api_gateway.intake import Intake
from api_gateway.looking import Looks
from api_gateway.media import noting_disconnects
from api_gateway.openapi.resource import documentation
from api_gateway.progress import Progress
from api_gateway.queue_watch import QueueWatch, asking
from api_gateway.records import Records
from api_gateway.resources.bulk_enroll import BulkEnrollResource
from api_gateway.resources.course_details import CourseDetailsResource
from api_gateway.resources.courses import CourseResource, CoursesResource
from api_gateway.resources.crosswalks import CrosswalkResource, MissingResource
from api_gateway.resources.enrollment import EnrollmentResource
from api_gateway.resources.enrollment_detail import EnrollmentDetailResource
from api_gateway.resources.health import LiveResource, ReadyResource
from api_gateway.resources.invitations import InvitationResource
from api_gateway.resources.learners import LearnerResource, LearnersResource
from api_gateway.resources.listing import ChangesResource, EnrollmentsResource
from api_gateway.resources.outcomes import OutcomesResource
from api_gateway.resources.submission import CancelResource, EventsResource, SubmissionResource
from api_gateway.resources.submissions import SubmissionsResource
from api_gateway.ringing import Ringer, Send, sender
from api_gateway.spooling import Spooling
from api_gateway.taking import Taking
from api_gateway.uploads import Uploads
from api_gateway.waiting import Waiters
from enrollment.cache import Cache, connect
from enrollment.domain.errors import NotDurable, RecordsUnavailable
from enrollment.garbage import collect_seldom
from enrollment.queue import broker_settings
from enrollment.settings import Settings
from enrollment.storage.durability import durable_sessions, look_at_start
from enrollment.waking import Bell
from schemas.source import Limits

log = structlog.get_logger()

BASE = "/api/enrollment/v1"
#: Threads that reads and small writes run in.
THREADS = 4
#: Threads that singles are stored in; they share one commit, so it is one and one to spare.
INTAKE_THREADS = 2
#: Files that are cut and stored at the same time.
UPLOADS_AT_ONCE = 2


def utc_now() -> datetime:
    """The moment on this machine's clock."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What the gateway is made of; everything that is started and stopped."""

    settings: Settings
    records: Records
    #: Threads of their own for intake, so that slow reads never keep singles waiting.
    intake_records: Records
    ringer: Ringer
    waiters: Waiters
    progress: Progress
    details: CourseDetails
    authenticator: Authenticator
    uploads_pool: ThreadPoolExecutor
    ping_redis: Callable[[], bool]
    #: None where the queue is the Redis.
    queue: QueueWatch | None
    now: Callable[[], datetime] = utc_now


def make_parts(settings: Settings, *, send: Send | None = None) -> Parts:
    """Make every part; nothing is connected or started yet."""
    connections = THREADS + INTAKE_THREADS + UPLOADS_AT_ONCE
    sessions = durable_sessions(
        settings.database_url, pool_size=connections, accepts_loss=settings.accept_data_loss
    )
    records = Records(sessions, threads=THREADS)
    if send is None:
        app = Celery("enroll", set_as_current=False)
        app.conf.update(broker_settings(settings.broker_url, client="enroll-gateway"))
        send = sender(app)
    ringer = Ringer(send)
    waiters = Waiters(records, settings.redis_url, heard=ringer.answered)
    authenticator = Authenticator(records, settings, time.monotonic)
    return Parts(
        settings=settings,
        records=records,
        intake_records=Records(sessions, threads=INTAKE_THREADS),
        ringer=ringer,
        waiters=waiters,
        progress=Progress(
            following=Following(records, waiters), now=utc_now, identify=authenticator.identify
        ),
        details=CourseDetails(records, Cache(connect(settings.redis_url)), now=utc_now),
        authenticator=authenticator,
        uploads_pool=ThreadPoolExecutor(UPLOADS_AT_ONCE, thread_name_prefix="uploads"),
        ping_redis=Bell(settings.redis_url).is_heard,
        queue=_own_queue(settings),
    )


def _own_queue(settings: Settings) -> QueueWatch | None:
    is_redis = settings.broker_url == settings.redis_url
    return None if is_redis else QueueWatch(asking(settings.broker_url))


class Lifespan:
    """Starts the parts with the server, and stops them with it."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def process_startup(self, scope: Any, event: Any) -> None:
        """Look at the records, then begin to ring and to listen.

        Raises NotDurable: a gateway does not start on what loses commits.
        """
        collect_seldom()
        await self._look_at_records()
        self._parts.ringer.start()
        self._parts.waiters.start()

    async def _look_at_records(self) -> None:
        records = self._parts.records
        try:
            await records.run(lambda: look_at_start(records.sessions))
        except NotDurable:
            raise
        except RecordsUnavailable as error:
            log.warning("records.unreachable", because=str(error))

    async def process_shutdown(self, scope: Any, event: Any) -> None:
        """Let what runs end."""
        parts = self._parts
        await parts.waiters.stop()
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(None, parts.ringer.stop)
        await loop.run_in_executor(None, parts.uploads_pool.shutdown)
        await loop.run_in_executor(None, parts.details.close)
        await loop.run_in_executor(None, parts.intake_records.close)
        await loop.run_in_executor(None, parts.records.close)


#: URI template by route name; the policy knows every name.
ROUTES = {
    "enrollment": f"{BASE}/enrollment",
    "enrollment_detail": f"{BASE}/enrollment/{{names:path}}",
    "enrollments": f"{BASE}/enrollments",
    "course_details": f"{BASE}/course/{{course_id:path}}",
    "submissions": f"{BASE}/submissions",
    "submission": f"{BASE}/submissions/{{id}}",
    "submission_events": f"{BASE}/submissions/{{id}}/events",
    "submission_outcomes": f"{BASE}/submissions/{{id}}/outcomes",
    "submission_cancel": f"{BASE}/submissions/{{id}}/cancel",
    "bulk_enroll": "/api/bulk_enroll/v1/bulk_enroll",
    "courses": f"{BASE}/courses",
    "course": f"{BASE}/courses/{{course_id:path}}",
    "learners": f"{BASE}/learners",
    "learner": f"{BASE}/learners/{{username}}",
    "invitation": f"{BASE}/invitations/{{rest:path}}",
    "crosswalk": f"{BASE}/crosswalks/{{source}}",
    "crosswalk_missing": f"{BASE}/crosswalks/{{source}}/missing",
    "changes": f"{BASE}/changes",
    "livez": "/livez",
    "readyz": "/readyz",
    "openapi": "/openapi.json",
    "docs": "/docs",
    "docs_reasons": "/docs/reasons",
}

#: Upstream's own routes: errors travel there as ``application/json``.
V1 = frozenset(
    ROUTES[name]
    for name in (
        "enrollment",
        "enrollment_detail",
        "enrollments",
        "course_details",
        "bulk_enroll",
    )
)


def make_resources(parts: Parts) -> dict[str, object]:
    """The resource behind each route name."""
    records, now, settings = parts.records, parts.now, parts.settings
    limits = Limits(
        max_bytes=settings.max_upload_bytes,
        max_rows=settings.max_upload_rows,
        max_json_bytes=settings.max_json_bytes,
        batch_rows=settings.batch_rows,
    )
    uploads = Uploads(
        sessions=records.sessions,
        ringer=parts.ringer,
        limits=limits,
        max_atomic_rows=settings.max_atomic_rows,
    )
    taking = Taking(uploads=uploads, pool=parts.uploads_pool)
    progress, following = parts.progress, parts.progress.following
    return {
        "enrollment": EnrollmentResource(
            records=records,
            intake=Intake(parts.intake_records, parts.ringer),
            waiters=parts.waiters,
            now=now,
            default_wait=settings.default_wait,
            self_unenroll=settings.self_unenroll,
        ),
        "enrollment_detail": EnrollmentDetailResource(records=records, now=now),
        "enrollments": EnrollmentsResource(records=records),
        "course_details": CourseDetailsResource(parts.details),
        "submissions": SubmissionsResource(
            records=records,
            taking=taking,
            spooling=Spooling(settings.max_upload_bytes),
            now=now,
        ),
        "submission": SubmissionResource(
            looks=Looks(records), following=following, progress=progress, now=now
        ),
        "submission_events": EventsResource(records=records, progress=progress),
        "submission_outcomes": OutcomesResource(records=records, now=now),
        "submission_cancel": CancelResource(records=records, ringer=parts.ringer, now=now),
        "bulk_enroll": BulkEnrollResource(
            records=records,
            taking=taking,
            following=following,
            now=now,
            default_wait=settings.default_wait,
        ),
        "courses": CoursesResource(records, parts.details),
        "course": CourseResource(records, parts.details),
        "learners": LearnersResource(records),
        "learner": LearnerResource(records),
        "invitation": InvitationResource(records, now=now),
        "crosswalk": CrosswalkResource(records=records),
        "crosswalk_missing": MissingResource(records=records, now=now),
        "changes": ChangesResource(records=records),
        "livez": LiveResource(),
        "readyz": ReadyResource(
            records=records, ping_redis=parts.ping_redis, queue=parts.queue, now=now
        ),
        **documentation(ROUTES, V1),
    }


def make_app(parts: Parts) -> Any:
    """The ASGI application."""
    names = {template: name for name, template in ROUTES.items()}
    app: falcon.asgi.App[Request, Response] = falcon.asgi.App(
        middleware=[Gate(parts.authenticator, names), Lifespan(parts)]
    )
    app.req_options.strip_url_path_trailing_slash = True
    app.req_options.auto_parse_qs_csv = False
    # An answer without a body has no type either: clients parse what calls itself JSON.
    app.resp_options.default_media_type = None  # type: ignore[assignment]
    errors.install(app, V1)
    for name, resource in make_resources(parts).items():
        app.add_route(ROUTES[name], resource)
    return minding_heads(noting_disconnects(app))
