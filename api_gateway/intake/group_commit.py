"""Stores single requests with group commit: one transaction for many requests.

Requests that arrive during a commit are stored together in the next one. A request gets 202
after its commit.
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
    DatabaseUnavailable,
    EnrollmentError,
    KeyReused,
    Overloaded,
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
MAX_GROUP_REQUESTS = 1_000
#: After a group of this size, the next transaction is delayed by `COMMIT_DELAY_SECONDS` so that
#: more requests join it: a transaction costs about as much for one request as for a hundred.
COMMIT_DELAY_THRESHOLD = 32
COMMIT_DELAY_SECONDS = 0.004
#: Maximum number of requests that wait for their transaction; more are rejected.
MAX_PENDING_REQUESTS = 10_000
#: If a transaction fails after more than these seconds, all waiting requests fail with it.
MAX_FAILURE_SECONDS = 3.0


class SingleRequest(NamedTuple):
    """An authenticated, authorized and validated single request."""

    caller: Caller
    request: ParsedRequest
    #: Monotonic seconds at which the first byte was read.
    first_byte: float
    request_id: str | None = None
    #: The Idempotency-Key.
    key: str | None = None
    #: SHA-256 of the parts that identify the request; empty without a key.
    fingerprint: bytes = b""
    #: Names of members of its body that are not read.
    ignored: tuple[str, ...] = ()

    @property
    def key_owner(self) -> KeyOwner | None:
        """The caller and the key; None without a key."""
        return None if self.key is None else (self.caller.name, self.key)


class Receipt(NamedTuple):
    """Proof that a request is durable, stored now or earlier under the same key."""

    submission_id: UUID
    received_at: datetime
    #: The batch that contains the request; None for a replay.
    batch_id: int | None


#: The result of one request: a receipt, or the error to raise.
SingleResult = Receipt | EnrollmentError


class _PendingRequest(NamedTuple):
    request: SingleRequest
    future: asyncio.Future[Receipt]


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
        self._pending: list[_PendingRequest] = []
        self._committing: asyncio.Task[None] | None = None

    async def accept(self, request: SingleRequest) -> Receipt:
        """Stores a request durably and returns its receipt.

        Raises KeyReused, Overloaded, DatabaseUnavailable. After DatabaseUnavailable the request
        may be stored: the client repeats it with the same Idempotency-Key.
        """
        if len(self._pending) >= MAX_PENDING_REQUESTS:
            message = "too many requests wait to be stored"
            raise Overloaded(message)
        pending = _PendingRequest(request, asyncio.get_running_loop().create_future())
        self._pending.append(pending)
        if self._committing is None:
            self._committing = asyncio.create_task(self._commit_all())
        return await pending.future

    async def _commit_all(self) -> None:
        """Commits groups until no request waits."""
        try:
            while self._pending:
                await self._commit_next_group()
        finally:
            self._committing = None

    async def _commit_next_group(self) -> None:
        group = self._pending[:MAX_GROUP_REQUESTS]
        self._pending = self._pending[MAX_GROUP_REQUESTS:]
        await self._commit(group)
        if len(group) >= COMMIT_DELAY_THRESHOLD:
            await asyncio.sleep(COMMIT_DELAY_SECONDS)

    async def _commit(self, group: list[_PendingRequest], *, is_retry: bool = False) -> None:
        """Stores a group and resolves its futures; retries a conflict once."""
        requests = [pending.request for pending in group]
        started_at = self._monotonic()
        try:
            results = await self._database.run(lambda: self._store(requests))
        except (DatabaseUnavailable, Overloaded) as error:
            _fail(group, error)
            if self._monotonic() - started_at > MAX_FAILURE_SECONDS:
                _fail(self._pending, error)
                self._pending = []
            return
        except Conflict as conflict:
            if is_retry:
                _fail(group, DatabaseUnavailable(str(conflict)))
            else:
                await self._commit(group, is_retry=True)
            return
        except Exception as error:  # noqa: BLE001 (one bad request must not fail the group)
            await self._commit_individually(group, error)
            return
        for pending, result in zip(group, results, strict=True):
            _resolve(pending, result)

    async def _commit_individually(self, group: list[_PendingRequest], error: Exception) -> None:
        """Stores each request in its own transaction, so that only the faulty ones fail."""
        if len(group) == 1:
            log.error("single.not_stored", exc_info=error)
            _fail(group, error)
            return
        for pending in group:
            await self._commit([pending])

    def _store(self, requests: Sequence[SingleRequest]) -> list[SingleResult]:
        """Stores requests in a pool thread and dispatches their batch."""
        stored = store_singles(self._database.sessions, requests, self._monotonic)
        if stored.batch_id is not None:
            self._dispatcher.dispatch(BatchRef(stored.batch_id, Lane.INTERACTIVE))
        return stored.results


class StoredSingles(NamedTuple):
    """The results of one transaction; `batch_id` is None if no request was new."""

    results: list[SingleResult]
    batch_id: int | None


def store_singles(
    sessions: Sessions, requests: Sequence[SingleRequest], monotonic: Callable[[], float]
) -> StoredSingles:
    """Stores requests as one batch in one transaction; returns one result per request.

    A request with a key that was used before gets the receipt of the earlier request.
    """
    with sessions.begin() as session:
        session.connection()  # the time until there is a connection counts as waiting time
        waited_until = monotonic()
        now = database_now(session)
        ids = uuid7s(now, len(requests))
        new = _claim_keys(session, requests, ids, now)
        singles = [_single(ids[index], requests[index], waited_until, now) for index in new]
        batch_id = None
        if singles:
            batch = NewBatch(len(singles), encode_singles(singles))
            batch_id = batches.insert_batch_of_singles(session, batch, now=now)
            rows = [_row(single, requests[at]) for single, at in zip(singles, new, strict=True)]
            submissions.insert_singles(session, rows, batch_id=batch_id)
        results: dict[int, SingleResult] = {
            index: Receipt(single.submission_id, single.received_at, batch_id)
            for single, index in zip(singles, new, strict=True)
        }
        known = [index for index in range(len(requests)) if index not in results]
        results |= _replay(session, {index: requests[index] for index in known})
        fail_point(Point.INTAKE_BEFORE_COMMIT)
    fail_point(Point.INTAKE_COMMITTED)
    return StoredSingles([results[index] for index in range(len(requests))], batch_id)


def _claim_keys(
    session: Session, requests: Sequence[SingleRequest], ids: Sequence[UUID], now: datetime
) -> list[int]:
    """Claims the Idempotency-Keys; returns the indexes of requests without a key or with a new one.

    Waits for transactions that have claimed the same keys.
    """
    uses: dict[KeyOwner, KeyUse] = {}
    for request, id_ in zip(requests, ids, strict=True):
        if request.key_owner is not None:
            use = KeyUse(*request.key_owner, request.fingerprint, id_)
            uses.setdefault(request.key_owner, use)  # the first request with a key claims it
    claimed = idempotency.claim(session, list(uses.values()), now=now)
    return [
        index
        for index, request in enumerate(requests)
        if request.key_owner is None
        or (request.key_owner in claimed and uses[request.key_owner].submission_id == ids[index])
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
        request.ignored,
    )


def _replay(session: Session, repeated: Mapping[int, SingleRequest]) -> dict[int, SingleResult]:
    """Returns the results of requests with keys that were used before, by index."""
    if not repeated:
        return {}
    owners = {request.key_owner for request in repeated.values() if request.key_owner}
    uses = idempotency.find(session, owners)
    submissions_by_id = submissions.find_all(session, {use.submission_id for use in uses.values()})
    results: dict[int, SingleResult] = {}
    for index, request in repeated.items():
        use = uses.get(request.key_owner or ("", ""))
        submission = None if use is None else submissions_by_id.get(use.submission_id)
        if use is not None and use.fingerprint != request.fingerprint:
            first = None if submission is None else submission.id
            results[index] = KeyReused(request.key, first)
        elif use is None or submission is None:
            results[index] = DatabaseUnavailable("an Idempotency-Key was purged meanwhile")
        else:
            results[index] = Receipt(use.submission_id, submission.received_at, None)
    return results


def _resolve(pending: _PendingRequest, result: SingleResult) -> None:
    """Sets the result, unless the request was cancelled."""
    if pending.future.done():
        return
    if isinstance(result, EnrollmentError):
        pending.future.set_exception(result)
    else:
        pending.future.set_result(result)


def _fail(group: Sequence[_PendingRequest], error: Exception) -> None:
    for pending in group:
        if not pending.future.done():
            pending.future.set_exception(error)
