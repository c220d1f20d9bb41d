"""``/livez`` and ``/readyz``: is the process there, and can it keep its promise."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Annotated, Literal, NamedTuple, NotRequired, TypedDict

import structlog
from falcon.asgi import Request, Response
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from api_gateway.media import write_json
from api_gateway.queue_watch import QueueWatch
from api_gateway.records import Records
from enrollment.domain.errors import EnrollmentError, NotDurable
from enrollment.storage import batches, durability, migrate
from enrollment.storage.batches import Backlog
from enrollment.storage.durability import Fact
from schemas.json_types import Count, Doc

log = structlog.get_logger()

#: An unanswered batch older than this is worth naming.
OLD = timedelta(seconds=60)
#: Seconds after which who asks hears that there is no answer.
PATIENCE = 4.0


_Reached = Literal["ok", "away"]


class LiveJson(TypedDict):
    """The process is running."""

    status: Literal["ok"]


class ReadyJson(TypedDict):
    """Which parts of the service work."""

    status: Literal["ok", "degraded", "unready"]
    database: NotRequired[str]
    redis: NotRequired[_Reached]
    queue: NotRequired[
        Annotated[_Reached, Doc("The broker: the same Redis, or a server of its own.")]
    ]
    waiting_batches: NotRequired[Count]
    parked_batches: NotRequired[Count]
    findings: list[str]


class Look(NamedTuple):
    """What the database says of itself."""

    facts: list[Fact]
    #: Why it cannot be used; empty where it can.
    because: str
    backlog: Backlog = Backlog(0, None, 0)


class LiveResource:
    """The process answers."""

    async def on_get(self, req: Request, resp: Response) -> None:
        """Always 200."""
        body: LiveJson = {"status": "ok"}
        write_json(resp, body)

    on_head = on_get


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadyResource:
    """503 only for the database or its migrations; the rest is named in the body."""

    records: Records
    ping_redis: Callable[[], bool]
    now: Callable[[], datetime]
    #: None where the queue is the Redis.
    queue: QueueWatch | None

    async def on_get(self, req: Request, resp: Response) -> None:
        """What works and what does not."""
        try:
            async with asyncio.timeout(PATIENCE):
                look = await self.records.read(_look)
        except NotDurable as error:
            self._unready(resp, f"the database does not keep what it commits: {error}")
            return
        except (EnrollmentError, SQLAlchemyError, TimeoutError) as error:
            log.warning("ready.not", because=str(error))
            self._unready(resp, "the database does not answer")
            return
        if because := look.because or await self._why_no_writes():
            self._unready(resp, because)
            return
        redis, queue = await self._who_answers()
        backlog = look.backlog
        findings = self._findings(look, redis=redis, queue=queue)
        body: ReadyJson = {
            "status": "degraded" if findings else "ok",
            "database": "ok",
            "redis": "ok" if redis else "away",
            "queue": "ok" if queue else "away",
            "waiting_batches": backlog.waiting,
            "parked_batches": backlog.parked,
            "findings": findings,
        }
        write_json(resp, body)

    on_head = on_get

    async def _why_no_writes(self) -> str:
        """After a write that was not taken one is tried: else nobody who is kept away would."""
        sessions = self.records.sessions
        if not sessions.was_refused:
            return ""
        try:
            async with asyncio.timeout(PATIENCE):
                await self.records.write(durability.try_to_write)
        except (EnrollmentError, SQLAlchemyError, TimeoutError) as error:
            log.warning("ready.not", because=str(error))
            return "the database takes no writes: the log says why"
        sessions.was_refused = False
        return ""

    async def _who_answers(self) -> tuple[bool, bool]:
        """Whether Redis does, and the queue, which is that Redis unless another is named."""
        if self.queue is None:
            redis = await self.records.run(self.ping_redis)
            return redis, redis
        return await asyncio.gather(self.records.run(self.ping_redis), self.queue.is_heard())

    def _findings(self, look: Look, *, redis: bool, queue: bool) -> list[str]:
        backlog = look.backlog
        findings = [f"commits can be lost: {loss}" for loss in durability.losses(look.facts)]
        if not redis and self.queue is None:
            findings.append("Redis is away: requests are kept, work goes on when it is back")
        elif not redis:
            findings.append("Redis is away: answers come from the database, work goes on")
        if not queue and self.queue is not None:
            findings.append("the queue is away: requests are kept, work goes on when it is back")
        if backlog.parked:
            findings.append(f"{backlog.parked} batches are parked after failing again and again")
        if backlog.oldest is not None and self.now() - backlog.oldest > OLD:
            findings.append(f"a batch waits since {backlog.oldest.isoformat()}: do workers run?")
        return findings

    def _unready(self, resp: Response, finding: str) -> None:
        body: ReadyJson = {"status": "unready", "findings": [finding]}
        write_json(resp, body, HTTPStatus.SERVICE_UNAVAILABLE)
        resp.set_header("Retry-After", "2")


def _look(session: Session) -> Look:
    facts = durability.facts(session)
    if because := durability.cannot_write(facts):
        session.invalidate()  # another connection may lead to a server that writes
        return Look(facts, because)
    if not migrate.is_current(session):
        return Look(facts, "the database lacks migrations: run `enroll db upgrade`")
    return Look(facts, "", batches.backlog(session))
