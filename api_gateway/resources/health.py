"""``/livez`` and ``/readyz``: liveness and readiness."""

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

from api_gateway.broker_probe import BrokerProbe
from api_gateway.database import Database
from api_gateway.http.responses import write_json
from enrollment.domain.errors import EnrollmentError, NotDurable
from enrollment.storage import migrate
from enrollment.storage.engine import durability
from enrollment.storage.engine.durability import DurabilityFact
from enrollment.storage.queue import batches
from enrollment.storage.queue.batches import Backlog
from schemas.encoding.json_types import Count, Doc

log = structlog.get_logger()

#: Age from which an unprocessed batch is reported.
OLD_BACKLOG = timedelta(seconds=60)
#: Seconds after which the database counts as unreachable.
TIMEOUT_SECONDS = 4.0


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


class DatabaseState(NamedTuple):
    """The state of the database."""

    facts: list[DurabilityFact]
    #: Why it cannot be used; empty if it can.
    because: str
    backlog: Backlog = Backlog(0, None, 0)


class LiveResource:
    """Liveness: the process responds."""

    async def on_get(self, req: Request, resp: Response) -> None:
        """Always 200."""
        body: LiveJson = {"status": "ok"}
        write_json(resp, body)

    on_head = on_get


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadyResource:
    """Readiness: 503 only for the database or its migrations; the body names other problems."""

    database: Database
    ping_redis: Callable[[], bool]
    now: Callable[[], datetime]
    #: None if Redis is the broker.
    broker: BrokerProbe | None

    async def on_get(self, req: Request, resp: Response) -> None:
        """Report what works and what does not."""
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                state = await self.database.read(_check_database)
        except NotDurable as error:
            self._unready(resp, f"the database does not keep what it commits: {error}")
            return
        except (EnrollmentError, SQLAlchemyError, TimeoutError) as error:
            log.warning("ready.not", because=str(error))
            self._unready(resp, "the database does not answer")
            return
        if because := state.because or await self._why_no_writes():
            self._unready(resp, because)
            return
        redis, queue = await self._ping_servers()
        backlog = state.backlog
        findings = self._findings(state, redis=redis, queue=queue)
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
        """Return why writes fail, empty if they do not.

        After a refused write one is tried; nothing else would find out that writes work again.
        """
        sessions = self.database.sessions
        if not sessions.was_refused:
            return ""
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                await self.database.write(durability.probe_write)
        except (EnrollmentError, SQLAlchemyError, TimeoutError) as error:
            log.warning("ready.not", because=str(error))
            return "the database takes no writes: the log says why"
        sessions.was_refused = False
        return ""

    async def _ping_servers(self) -> tuple[bool, bool]:
        """Whether Redis and the broker respond."""
        if self.broker is None:
            redis = await self.database.run(self.ping_redis)
            return redis, redis
        return await asyncio.gather(self.database.run(self.ping_redis), self.broker.is_reachable())

    def _findings(self, state: DatabaseState, *, redis: bool, queue: bool) -> list[str]:
        backlog = state.backlog
        findings = [
            f"commits can be lost: {loss}" for loss in durability.data_loss_messages(state.facts)
        ]
        if not redis and self.broker is None:
            findings.append("Redis is away: requests are kept, work goes on when it is back")
        elif not redis:
            findings.append("Redis is away: answers come from the database, work goes on")
        if not queue and self.broker is not None:
            findings.append("the queue is away: requests are kept, work goes on when it is back")
        if backlog.parked:
            findings.append(f"{backlog.parked} batches are parked after failing again and again")
        if backlog.oldest is not None and self.now() - backlog.oldest > OLD_BACKLOG:
            findings.append(f"a batch waits since {backlog.oldest.isoformat()}: do workers run?")
        return findings

    def _unready(self, resp: Response, finding: str) -> None:
        body: ReadyJson = {"status": "unready", "findings": [finding]}
        write_json(resp, body, HTTPStatus.SERVICE_UNAVAILABLE)
        resp.set_header("Retry-After", "2")


def _check_database(session: Session) -> DatabaseState:
    facts = durability.load_durability_facts(session)
    if because := durability.cannot_write(facts):
        session.invalidate()  # another connection may reach a server that accepts writes
        return DatabaseState(facts, because)
    if not migrate.is_current(session):
        return DatabaseState(facts, "the database lacks migrations: run `enroll db upgrade`")
    return DatabaseState(facts, "", batches.load_backlog(session))
