"""A whole gateway in this process, called like a client does, with a worker beside it."""

import asyncio
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any
from uuid import uuid4

from falcon import testing

from api_gateway.app import make_asgi_app, make_parts
from api_gateway.auth.api_keys import new_api_key
from api_gateway.auth.jwt_tokens import sign_token
from api_gateway.auth.signing_keys import SigningKey
from api_gateway.routes import BASE
from api_gateway.status.waiters import WaitKey
from enrollment.domain.codes import Lane
from enrollment.domain.errors import DatabaseUnavailable
from enrollment.domain.model import Course, Learner, Mode
from enrollment.runtime.broker import QueueName
from enrollment.runtime.settings import from_env
from enrollment.storage import courses, learners
from enrollment.storage.credentials import api_keys
from enrollment.storage.engine.sessions import Sessions, sessions_for
from enrollment.storage.queue import redispatch
from enrollment.storage.queue.batches import BatchRef
from enrollment.storage.upkeep import heartbeats
from enrollment.storage.upkeep.heartbeats import ProcessKind, ProcessRecord
from worker.processing.processor import Processor

#: A Redis that is unavailable; the gateway must work without it.
NO_REDIS = "redis://127.0.0.1:1/0"
EDX_KEY = "the one key of an unmodified installation"
SIGNING_KEY = SigningKey.of(b"k" * 32)
PATIENCE = 30
AUDIT, HONOR, VERIFIED = Mode(slug="audit"), Mode(slug="honor"), Mode(slug="verified")
CREDIT, PROFESSIONAL = Mode(slug="credit"), Mode(slug="professional")

_numbers = count(1)

Headers = dict[str, str]


def utc_now() -> datetime:
    return datetime.now(UTC)


def ago(**span: float) -> datetime:
    return utc_now() - timedelta(**span)


def ahead(**span: float) -> datetime:
    return utc_now() + timedelta(**span)


def fresh(word: str) -> str:
    """Returns a name that no other test uses."""
    return f"{word}{next(_numbers)}"


def without_token(status: dict[str, Any]) -> dict[str, Any]:
    """Returns a submission without the token of `links.events`, which is new in each answer."""
    links = status["links"]
    return {**status, "links": {**links, "events": links["events"].partition("?")[0]}}


def pretend_to_run(sessions: Sessions) -> None:
    """Stores the heartbeats of a worker and of beat, which live for a day."""
    lanes = [queue.name.lower() for queue in QueueName]
    with sessions.begin() as session:
        for kind, served in ((ProcessKind.WORKER, lanes), (ProcessKind.BEAT, [])):
            record = ProcessRecord(uuid4(), kind.value, fresh(kind), "test", 1, "0", served)
            heartbeats.record(session, record, batches=0, now=ahead(days=1))


class Gateway:
    """Sends requests through the application on its own event loop."""

    def __init__(
        self,
        url: str,
        *,
        redis_url: str = NO_REDIS,
        worker_url: str = "",
        wall_clock: Callable[[], float] = time.time,
        **environment: str,
    ) -> None:
        """`worker_url`: the same database for another role; `wall_clock`: that of the throttle."""
        self._wall_clock = wall_clock
        self._rung: queue.Queue[object] = queue.Queue()
        self.settings = from_env(
            {
                "ENROLL_DATABASE_URL": url,
                "ENROLL_REDIS_URL": redis_url,
                "ENROLL_EDX_API_KEY": EDX_KEY,
                "ENROLL_ACCEPT_DATA_LOSS": "true",
                "ENROLL_THROTTLE": "off",
                "ENROLL_ENCRYPTION_KEY": "e" * 32,
                "ENROLL_MAX_WEBHOOKS": "10000",
                "ENROLL_SIGNING_KEY": SIGNING_KEY.secret.decode(),
                **{f"ENROLL_{name.upper()}": value for name, value in environment.items()},
            }
        )
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._conductor = self._run(self._make())
        self._run(self._conductor.__aenter__())
        self._keys: dict[tuple[str, ...], Headers] = {}
        self.worker_sessions = sessions_for(worker_url) if worker_url else self.sessions
        self.processor = Processor(sessions=self.worker_sessions)
        with suppress(DatabaseUnavailable):  # some tests have none
            pretend_to_run(self.worker_sessions)

    async def _make(self) -> testing.ASGIConductor:
        self.parts = make_parts(self.settings, send=self._rung.put, wall_clock=self._wall_clock)
        return testing.ASGIConductor(make_asgi_app(self.parts))

    @property
    def sessions(self) -> Sessions:
        return self.parts.database.sessions

    def close(self) -> None:
        self._run(self._conductor.__aexit__(None, None, None))
        self._run(self._loop.shutdown_default_executor())
        self.processor.transaction.overlays.close()
        self.worker_sessions.dispose()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _run(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(PATIENCE)

    def until(self, is_so: Callable[[], object]) -> None:
        """Waits for a condition while the event loop runs."""

        async def checked() -> None:
            async with asyncio.timeout(PATIENCE):
                while not is_so():  # noqa: ASYNC110 (nothing tells)
                    await asyncio.sleep(0.005)

        self._run(checked())

    # --- callers ----------------------------------------------------------------------

    def key(self, *scopes: str, name: str = "") -> Headers:
        """Returns an API key with these scopes, the same one each time."""
        known = (name, *scopes)
        if known not in self._keys:
            text, digest = new_api_key()
            with self.sessions.begin() as session:
                api_keys.add(
                    session,
                    name=name or fresh("key-"),
                    scopes=frozenset(scopes),
                    digest=digest,
                    now=utc_now(),
                )
            self._keys[known] = {"X-Edx-Api-Key": text}
        return self._keys[known]

    @property
    def admin(self) -> Headers:
        return self.key("admin")

    @property
    def server(self) -> Headers:
        return self.key("enroll")

    @property
    def edx(self) -> Headers:
        return {"X-Edx-Api-Key": EDX_KEY}

    def learner(self, username: str, *, staff: bool = False) -> Headers:
        """Returns the token of a person."""
        token = sign_token(SIGNING_KEY, username, staff=staff, now=utc_now())
        return {"Authorization": f"JWT {token}"}

    @property
    def staff(self) -> Headers:
        return self.learner("stella", staff=True)

    # --- data -------------------------------------------------------------------------

    def course(self, *modes: Mode, **members: Any) -> str:
        """Creates a course for one test; open to all by default."""
        course_id = members.pop("course_id", None) or f"course-v1:Uni+{fresh('C')}+2026"
        self.save(Course(course_id=course_id, modes=modes, **members))
        return course_id

    def save(self, course: Course) -> None:
        with self.sessions.begin() as session:
            courses.save_all(session, [course])

    def person(self, **members: Any) -> str:
        """Creates a learner."""
        username = fresh("person")
        with self.sessions.begin() as session:
            learners.save(session, Learner(username, **members))
        return username

    # --- requests ---------------------------------------------------------------------

    def call(self, method: str, path: str, who: Headers | None = None, **more: Any) -> Any:
        """Sends a request; paths without a leading slash are below the base path."""
        return self._run(self._request(method, path, who, more))

    async def _request(
        self, method: str, path: str, who: Headers | None, more: dict[str, Any]
    ) -> Any:
        url = path if path.startswith("/") else f"{BASE}/{path}"
        headers = {**(who or {}), **more.pop("headers", {})}
        return await self._conductor.simulate_request(method, url, headers=headers, **more)

    def get(self, path: str, who: Headers | None = None, **more: Any) -> Any:
        return self.call("GET", path, who, **more)

    def post(self, path: str, who: Headers | None = None, **more: Any) -> Any:
        return self.call("POST", path, who, **more)

    def start(self, method: str, path: str, who: Headers | None = None, **more: Any) -> Future[Any]:
        """Sends a request, and does not wait for its response."""
        request = self._request(method, path, who, more)
        return asyncio.run_coroutine_threadsafe(request, self._loop)

    def result(self, future: Future[Any]) -> Any:
        """Waits for the response to a request that was started."""
        return future.result(PATIENCE)

    @contextmanager
    def asking(self, method: str, path: str, who: Headers | None = None, **more: Any) -> Any:
        """Runs a request during the block; yields its future."""
        future = self.start(method, path, who, **more)
        yield future
        self.result(future)

    def answered(self, method: str, path: str, who: Headers | None = None, **more: Any) -> Any:
        """Sends a request while a worker runs."""
        with self.asking(method, path, who, **more) as future:
            future.add_done_callback(lambda _: self._rung.put(None))
            while self._rung.get(timeout=PATIENCE) is not None:
                self.work()
        return future.result()

    def enroll(self, who: Headers, course_id: str, user: str | None = None, **body: Any) -> Any:
        """Sends one enrollment and waits for its outcome."""
        headers = {"Prefer": "wait=20"} | body.pop("headers", {})
        asked = {"course_details": {"course_id": course_id}, **body}
        if user is not None:
            asked["user"] = user
        return self.answered("POST", "enrollment", who, json=asked, headers=headers)

    def submit(self, text: str | bytes, who: Headers | None = None, **more: Any) -> Any:
        """Sends a file (CSV by default), processes all of it, and returns its status."""
        headers = {"Content-Type": more.pop("content_type", "text/csv")} | more.pop("headers", {})
        accepted = self.post("submissions", who or self.admin, body=text, headers=headers, **more)
        assert accepted.status_code == 202, accepted.text
        self.work()
        return self.get(accepted.headers["location"], who or self.admin)

    # --- the worker -------------------------------------------------------------------

    def work(self, batches_at_most: int | None = None) -> None:
        """Processes waiting batches (or some of them) and publishes them as a worker does."""
        number = 0
        while todo := self.waiting():
            for waiting in todo:
                if number == batches_at_most:
                    return
                number += 1
                done = self.processor.process(waiting.id)
                if done.batch_ids:
                    self.parts.dispatcher.on_completed(done.batch_ids)
                    heard: list[WaitKey] = [*done.batch_ids, *done.submission_ids]
                    self._loop.call_soon_threadsafe(self.parts.waiters.wake, heard)

    def rung(self) -> BatchRef | None:
        """Returns the next dispatched batch."""
        return self._rung.get(timeout=PATIENCE)

    def waiting(self) -> list[BatchRef]:
        """Returns the dispatched batches."""
        with self.sessions.begin() as session:
            return [
                waiting
                for lane in (Lane.INTERACTIVE, Lane.BULK)
                for waiting in redispatch.mark_redispatched(
                    session, lane, before=ahead(hours=1), now=utc_now(), limit=100
                )
            ]
