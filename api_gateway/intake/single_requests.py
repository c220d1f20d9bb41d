"""Stores single requests with group commit: many in one transaction, before any gets 202.

Requests that arrive during a commit are stored together in the next one.
"""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

import structlog
from sqlalchemy.orm import Session

from api_gateway.auth.caller import Caller
from api_gateway.database import Database
from api_gateway.intake.dispatcher import Dispatcher
from enrollment.domain.codes import Lane
from enrollment.domain.errors import (
    Conflict,
    EnrollmentError,
    KeyReused,
    Overloaded,
    RecordsUnavailable,
)
from enrollment.runtime.failpoints import Point, fail_point
from enrollment.runtime.ids import uuid7s
from enrollment.storage import idempotency, submissions
from enrollment.storage.engine.sessions import Sessions, database_now
from enrollment.storage.idempotency import KeyOwner, KeyUse
from enrollment.storage.queue import batches
from enrollment.storage.queue.batches import BatchRef, NewBatch
from enrollment.storage.submissions import NewSingle
from schemas.requests.parsed import ParsedRequest
from schemas.requests.single_payload import Single, encode_singles

log = structlog.get_logger()

#: Maximum number of requests in one transaction.
MAX_GROUP = 1_000
#: After a group of so many, the next transaction is delayed by `GATHER_SECONDS` so that more
#: requests join it: a transaction costs the same for one request and for a hundred.
GATHER_THRESHOLD = 32
GATHER_SECONDS = 0.004
#: Requests that may wait for their transaction before more are rejected.
MAX_WAITING = 10_000
#: If a transaction took so many seconds to fail, the requests behind it fail with it.
MAX_WAIT_SECONDS = 3.0


class SingleRequest(NamedTuple):
    """A single request that was authenticated, authorized and validated."""

    caller: Caller
    request: ParsedRequest
    #: Monotonic seconds at which its first byte was read.
    first_byte: float
    request_id: str | None = None
    #: The Idempotency-Key.
    key: str | None = None
    #: SHA-256 of all that makes the request the same; only with a key.
    fingerprint: bytes = b""

    @property
    def key_owner(self) -> KeyOwner | None:
        """The caller and the key, if there is a key."""
        return None if self.key is None else (self.caller.name, self.key)


class Receipt(NamedTuple):
    """Proof that a request is durable, now or since an earlier request with the same key."""

    submission_id: UUID
    received_at: datetime
    #: The batch that contains it; None for a replay.
    batch_id: int | None


#: What one request comes to: a receipt, or the error to raise.
Result = Receipt | EnrollmentError


class _PendingRequest(NamedTuple):
    request: SingleRequest
    receipt: asyncio.Future[Receipt]


class GroupCommitter:
    """Stores single requests in groups. One per event loop."""

    def __init__(
        self,
        database: Database,
        dispatcher: Dispatcher,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._dispatcher = dispatcher
        self._monotonic = monotonic
        self._waiting: list[_PendingRequest] = []
        self._committing: asyncio.Task[None] | None = None

    async def accept(self, request: SingleRequest) -> Receipt:
        """Store a request durably.

        Raises KeyReused, Overloaded, RecordsUnavailable. After the last the request may or may
        not be stored: the caller sends it again, with the same Idempotency-Key.
        """
        if len(self._waiting) >= MAX_WAITING:
            message = "too many requests wait to be stored"
            raise Overloaded(message)
        pending = _PendingRequest(request, asyncio.get_running_loop().create_future())
        self._waiting.append(pending)
        if self._committing is None:
            self._committing = asyncio.create_task(self._commit_all())
        return await pending.receipt

    async def _commit_all(self) -> None:
        try:
            while self._waiting:
                group, self._waiting = (
                    self._waiting[:MAX_GROUP],
                    self._waiting[MAX_GROUP:],
                )
                await self._commit(group)
                if len(group) >= GATHER_THRESHOLD:
                    await asyncio.sleep(GATHER_SECONDS)
        finally:
            self._committing = None

    async def _commit(self, group: list[_PendingRequest], *, again: bool = False) -> None:
        requests = [pending.request for pending in group]
        began = self._monotonic()
        try:
            results = await self._database.run(lambda: self._store(requests))
        except (RecordsUnavailable, Overloaded) as error:
            _fail(group, error)
            if self._monotonic() - began > MAX_WAIT_SECONDS:
                _fail(self._waiting, error)
                self._waiting = []
            return
        except Conflict as conflict:
            if again:
                _fail(group, RecordsUnavailable(str(conflict)))
            else:
                await self._commit(group, again=True)
            return
        except Exception as error:  # noqa: BLE001 (one bad request must not fail the group)
            await self._commit_individually(group, error)
            return
        for pending, result in zip(group, results, strict=True):
            _resolve(pending, result)

    async def _commit_individually(self, group: list[_PendingRequest], error: Exception) -> None:
        """Give each request its own transaction, so that only those fail that cannot be stored."""
        if len(group) == 1:
            log.error("single.not_stored", exc_info=error)
            _fail(group, error)
            return
        for pending in group:
            await self._commit([pending])

    def _store(self, requests: Sequence[SingleRequest]) -> list[Result]:
        stored = store_singles(self._database.sessions, requests, self._monotonic)
        if stored.batch_id is not None:
            self._dispatcher.dispatch(BatchRef(stored.batch_id, Lane.INTERACTIVE))
        return stored.results


class StoredSingles(NamedTuple):
    """The results of one transaction; `batch_id` is None if all requests were replays."""

    results: list[Result]
    batch_id: int | None


def store_singles(
    sessions: Sessions, requests: Sequence[SingleRequest], monotonic: Callable[[], float]
) -> StoredSingles:
    """Store requests as one batch, in one transaction.

    A request whose key was used before gets the earlier receipt. Returns one result a request.
    """
    with sessions.begin() as session:
        session.connection()  # waiting for a connection counts as waiting time too
        waited_until = monotonic()
        now = database_now(session)
        ids = uuid7s(now, len(requests))
        fresh = _claim_keys(session, requests, ids, now)
        singles = [_single(ids[place], requests[place], waited_until, now) for place in fresh]
        batch_id = None
        if singles:
            batch = NewBatch(len(singles), encode_singles(singles))
            batch_id = batches.insert_batch_of_singles(session, batch, now=now)
            rows = [_row(one, requests[place]) for one, place in zip(singles, fresh, strict=True)]
            submissions.insert_singles(session, rows, batch_id=batch_id)
        results: dict[int, Result] = {
            place: Receipt(one.submission_id, one.received_at, batch_id)
            for one, place in zip(singles, fresh, strict=True)
        }
        again = [place for place in range(len(requests)) if place not in results]
        results |= _replay(session, {place: requests[place] for place in again})
        fail_point(Point.INTAKE_BEFORE_COMMIT)
    fail_point(Point.INTAKE_COMMITTED)
    return StoredSingles([results[place] for place in range(len(requests))], batch_id)


def _claim_keys(
    session: Session, requests: Sequence[SingleRequest], ids: Sequence[UUID], now: datetime
) -> list[int]:
    """Claim the Idempotency-Keys; return the indexes of requests without a key or with a new one.

    Waits for transactions that claimed the same keys.
    """
    uses: dict[KeyOwner, KeyUse] = {}
    for request, id_ in zip(requests, ids, strict=True):
        if request.key_owner is not None:
            use = KeyUse(*request.key_owner, request.fingerprint, id_)
            uses.setdefault(request.key_owner, use)  # of two with one key the first counts
    free = idempotency.claim(session, list(uses.values()), now=now)
    return [
        place
        for place, request in enumerate(requests)
        if request.key_owner is None
        or (request.key_owner in free and uses[request.key_owner].submission_id == ids[place])
    ]


def _single(id_: UUID, request: SingleRequest, waited_until: float, now: datetime) -> Single:
    waited = timedelta(seconds=max(0.0, waited_until - request.first_byte))
    caller = request.caller
    return Single(id_, caller.name, caller.kind, now - waited, request.request)


def _row(single: Single, request: SingleRequest) -> NewSingle:
    return NewSingle(
        single.submission_id,
        single.caller,
        single.caller_kind,
        single.received_at,
        request.request_id,
    )


def _replay(session: Session, again: Mapping[int, SingleRequest]) -> dict[int, Result]:
    """The results of requests whose keys were used before, by index."""
    if not again:
        return {}
    known = idempotency.find(session, {it.key_owner for it in again.values() if it.key_owner})
    found = submissions.find_all(session, {use.submission_id for use in known.values()})
    results: dict[int, Result] = {}
    for place, request in again.items():
        use = known.get(request.key_owner or ("", ""))
        submission = None if use is None else found.get(use.submission_id)
        if use is not None and use.fingerprint != request.fingerprint:
            results[place] = KeyReused(request.key)
        elif use is None or submission is None:
            results[place] = RecordsUnavailable("an Idempotency-Key was purged meanwhile")
        else:
            results[place] = Receipt(use.submission_id, submission.received_at, None)
    return results


def _resolve(pending: _PendingRequest, result: Result) -> None:
    if pending.receipt.done():
        return
    if isinstance(result, EnrollmentError):
        pending.receipt.set_exception(result)
    else:
        pending.receipt.set_result(result)


def _fail(group: Sequence[_PendingRequest], error: Exception) -> None:
    for pending in group:
        if not pending.receipt.done():
            pending.receipt.set_exception(error)
