"""``/livez`` and ``/readyz``: is the process there, and can it keep its promise."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Any

import structlog
from falcon.asgi import Request, Response
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from api_gateway.media import write_json
from api_gateway.records import Records
from enrollment.domain.errors import EnrollmentError
from enrollment.storage import batches, migrate
from enrollment.storage.batches import Backlog

log = structlog.get_logger()

#: An unanswered batch older than this is worth naming.
OLD = timedelta(seconds=60)


class LiveResource:
    """The process answers."""

    async def on_get(self, req: Request, resp: Response) -> None:
        """Always 200."""
        write_json(resp, {"status": "ok"})

    on_head = on_get


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadyResource:
    """503 only for the database or its migrations; the rest is named in the body."""

    records: Records
    ping_redis: Callable[[], bool]
    now: Callable[[], datetime]

    async def on_get(self, req: Request, resp: Response) -> None:
        """What works and what does not."""
        try:
            is_current, backlog = await self.records.read(_look)
        except (EnrollmentError, SQLAlchemyError) as error:
            log.warning("ready.not", because=str(error))
            self._unready(resp, "the database does not answer")
            return
        if not is_current:
            self._unready(resp, "the database lacks migrations: run `enroll db upgrade`")
            return
        redis = await self.records.run(self.ping_redis)
        findings = self._findings(backlog, redis=redis)
        write_json(
            resp,
            {
                "status": "degraded" if findings else "ok",
                "database": "ok",
                "redis": "ok" if redis else "away",
                "waiting_batches": backlog.waiting,
                "parked_batches": backlog.parked,
                "findings": findings,
            },
        )

    on_head = on_get

    def _findings(self, backlog: Backlog, *, redis: bool) -> list[str]:
        findings = []
        if not redis:
            findings.append("Redis is away: requests are kept, work goes on when it is back")
        if backlog.parked:
            findings.append(f"{backlog.parked} batches are parked after failing again and again")
        if backlog.oldest is not None and self.now() - backlog.oldest > OLD:
            findings.append(f"a batch waits since {backlog.oldest.isoformat()}: do workers run?")
        return findings

    def _unready(self, resp: Response, finding: str) -> None:
        body: dict[str, Any] = {"status": "unready", "findings": [finding]}
        write_json(resp, body, HTTPStatus.SERVICE_UNAVAILABLE)
        resp.set_header("Retry-After", "2")


def _look(session: Session) -> tuple[bool, Backlog]:
    if not migrate.is_current(session):
        return False, Backlog(0, None, 0)
    return True, batches.backlog(session)
