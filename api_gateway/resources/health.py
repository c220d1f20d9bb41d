"""`/livez` and `/readyz`: liveness and readiness."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from http import HTTPStatus
from typing import Annotated, Literal, NotRequired, TypedDict

import structlog
from falcon.asgi import Request, Response
from sqlalchemy.exc import SQLAlchemyError

from api_gateway.auth.signing.shared_key import SharedSigningKey
from api_gateway.broker_probe import BrokerProbe
from api_gateway.database import Database
from api_gateway.http.draining import Draining
from api_gateway.http.responses import write_json
from api_gateway.status.health.database_state import (
    DatabaseState,
    EncryptionLoader,
    load_database_state,
)
from api_gateway.status.health.inbound_backlog import (
    InboundBacklog,
    InboundBacklogJson,
    InboundProbe,
)
from api_gateway.status.health.reachable_servers import ping_servers
from api_gateway.status.health.relay_lag import RelayLagJson, dump_lag
from enrollment.domain.errors import EnrollmentError, NotDurable
from enrollment.runtime import failpoints
from enrollment.storage.engine import durability
from enrollment.storage.outbox.relay_positions import ChannelName
from schemas.destinations.deliveries import BacklogJson, dump_backlog
from schemas.encoding.json_types import Count, Doc

log = structlog.get_logger()

#: Age of an unprocessed batch from which it is reported.
OLD_BACKLOG = timedelta(seconds=60)
#: Age of the last complete purge from which it is reported.
OLD_PURGE = timedelta(days=1)
#: Seconds after which the database counts as unreachable.
READINESS_TIMEOUT_SECONDS = 4.0


_Reachability = Literal["ok", "away"]


class PendingDeliveriesJson(TypedDict):
    """Messages to enabled webhooks that are not delivered yet."""

    pending_deliveries: Annotated[Count, Doc("Counted to 10,000.")]
    oldest_pending_seconds: Annotated[Count, Doc("Age of the oldest of them.")]


class LiveJson(TypedDict):
    """The process is running."""

    status: Literal["ok"]


class ReadyJson(TypedDict):
    """Which parts of the service work."""

    status: Literal["ok", "degraded", "unready"]
    database: NotRequired[str]
    redis: NotRequired[_Reachability]
    queue: NotRequired[
        Annotated[_Reachability, Doc("The broker: the same Redis, or a server of its own.")]
    ]
    waiting_batches: NotRequired[Count]
    parked_batches: NotRequired[Count]
    relay: NotRequired[Annotated[list[RelayLagJson], Doc("The channels that are enabled.")]]
    webhooks: NotRequired[Annotated[PendingDeliveriesJson, Doc("Left out if nothing is pending.")]]
    workers: NotRequired[Annotated[Count, Doc("Workers that live.")]]
    beat_age_seconds: NotRequired[
        Annotated[Count | None, Doc("Seconds since beat was seen; null: it does not run.")]
    ]
    destinations: NotRequired[Annotated[list[BacklogJson], Doc("What waits for each destination.")]]
    inbound: NotRequired[
        Annotated[InboundBacklogJson, Doc("The request stream, if one is set and can be read.")]
    ]
    findings: list[str]


class LiveResource:
    """Liveness probe."""

    async def on_get(self, req: Request, resp: Response) -> None:
        """Responds 200."""
        body: LiveJson = {"status": "ok"}
        write_json(resp, body)

    on_head = on_get


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadyResource:
    """Readiness probe: 503 if the database is not usable, or the process is shutting down."""

    database: Database
    ping_redis: Callable[[], bool]
    now: Callable[[], datetime]
    #: Probes the broker; None if Redis is the broker.
    broker: BrokerProbe | None
    draining: Draining = field(default_factory=Draining)
    #: The channels of the relay that are enabled.
    channels: tuple[ChannelName, ...] = ()
    #: Reads the request stream; None without one.
    inbound: InboundProbe | None = None
    #: Returns the keys of stored secrets; raises NoEncryptionKey. None: they are not looked at.
    encryption: EncryptionLoader | None = None
    #: The key that signs tokens; None if it is not looked after.
    shared_key: SharedSigningKey | None = None

    async def on_get(self, req: Request, resp: Response) -> None:
        """Reports the state of the database, Redis, the broker and the queue."""
        body = await self.report()
        is_ready = body["status"] != "unready"
        write_json(resp, body, HTTPStatus.OK if is_ready else HTTPStatus.SERVICE_UNAVAILABLE)
        if not is_ready:
            resp.set_header("Retry-After", "2")

    on_head = on_get

    async def report(self) -> ReadyJson:
        """Returns the state of the database, Redis, the broker and the queue."""
        if self.draining.is_draining:
            return _unready("draining: the process is shutting down")
        try:
            async with asyncio.timeout(READINESS_TIMEOUT_SECONDS):
                state = await self.database.read(
                    partial(load_database_state, self.channels, self.encryption)
                )
        except NotDurable as error:
            return _unready(f"the database can lose commits: {error}")
        except (EnrollmentError, SQLAlchemyError, TimeoutError) as error:
            log.warning("ready.not", because=str(error))
            return _unready("the database does not answer")
        if defect := state.defect or await self._probe_refused_writes():
            return _unready(defect)
        redis, queue = await ping_servers(self.database, self.ping_redis, self.broker)
        body = self._body(state, redis=redis, queue=queue)
        if self.inbound is not None and redis:
            _add_inbound(body, await self.database.run(self.inbound.read))
        if self.shared_key is not None:
            _add_finding(body, await self.shared_key.find_defect())
        return body

    def _body(self, state: DatabaseState, *, redis: bool, queue: bool) -> ReadyJson:
        findings = self._findings(state, redis=redis, queue=queue)
        body: ReadyJson = {
            "status": "degraded" if findings else "ok",
            "database": "ok",
            "redis": "ok" if redis else "away",
            "queue": "ok" if queue else "away",
            "waiting_batches": state.backlog.waiting,
            "parked_batches": state.backlog.parked,
            "workers": len(state.processes.live_workers),
            "beat_age_seconds": _whole(state.processes.beat_age),
            "findings": findings,
        }
        _add_backlogs(body, state)
        return body

    async def _probe_refused_writes(self) -> str:
        """Returns why writes fail, empty if they do not.

        Only after a refused write it tries one, to detect that writes work again.
        """
        sessions = self.database.sessions
        if not sessions.was_refused:
            return ""
        try:
            async with asyncio.timeout(READINESS_TIMEOUT_SECONDS):
                await self.database.write(durability.probe_write)
        except (EnrollmentError, SQLAlchemyError, TimeoutError) as error:
            log.warning("ready.not", because=str(error))
            return "the database refuses writes: the log has the reason"
        sessions.was_refused = False
        return ""

    def _findings(self, state: DatabaseState, *, redis: bool, queue: bool) -> list[str]:
        backlog = state.backlog
        findings = [
            f"commits can be lost: {loss}" for loss in durability.data_loss_messages(state.facts)
        ]
        if failpoints.is_armed():
            findings.append("ENROLL_FAILPOINTS is set: this process injects faults into itself")
        if not redis and self.broker is None:
            findings.append(
                "Redis is not reachable: requests are stored and processed when it is back"
            )
        elif not redis:
            findings.append("Redis is not reachable: reads use the database, processing continues")
        if not queue and self.broker is not None:
            findings.append(
                "the queue is not reachable: requests are stored and processed when it is back"
            )
        if backlog.is_more:
            findings.append(f"more than {backlog.waiting} batches wait")
        if backlog.parked:
            findings.append(f"{backlog.parked} batches are parked after repeated failures")
        if backlog.oldest is not None and self.now() - backlog.oldest > OLD_BACKLOG:
            since = backlog.oldest.isoformat()
            findings.append(f"a batch has waited since {since}: check that workers run")
        if state.purged_at is not None and self.now() - state.purged_at > OLD_PURGE:
            findings.append(
                f"expired data was last purged completely at {state.purged_at.isoformat()}: "
                "check that beat and workers run, and the log for purge.part_failed"
            )
        return findings + _findings_beside(state)


def _unready(finding: str) -> ReadyJson:
    return {"status": "unready", "findings": [finding]}


def _findings_beside(state: DatabaseState) -> list[str]:
    """Returns what is wrong beside the gateway."""
    lags = (lag.finding for lag in state.lags)
    destinations = (each.finding for each in state.destinations)
    found = (*lags, *destinations, state.undecryptable, *state.processes.findings())
    return [each for each in found if each]


def _add_inbound(body: ReadyJson, backlog: InboundBacklog | None) -> None:
    if backlog is None:
        return
    body["inbound"] = backlog.dump()
    _add_finding(body, backlog.finding)


def _add_finding(body: ReadyJson, finding: str) -> None:
    if finding:
        body["status"] = "degraded"
        body["findings"].append(finding)


def _add_backlogs(body: ReadyJson, state: DatabaseState) -> None:
    if state.lags:
        body["relay"] = [dump_lag(lag) for lag in state.lags]
    if state.deliveries.number:
        body["webhooks"] = {
            "pending_deliveries": state.deliveries.number,
            "oldest_pending_seconds": int(state.deliveries.age(state.processes.now)),
        }
    if state.destinations:
        body["destinations"] = [dump_backlog(each.backlog) for each in state.destinations]


def _whole(seconds: float | None) -> int | None:
    return None if seconds is None else int(seconds)
