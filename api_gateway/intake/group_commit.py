"""Stores single requests and small uploads with group commit: one transaction for many of them.

Those that arrive during a commit are stored together in the next one. Each gets 202 after its
commit.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from itertools import islice
from typing import NamedTuple

import structlog

from api_gateway.database import Database
from api_gateway.intake.dispatcher import Dispatcher
from api_gateway.intake.intake_traces import store_traced
from enrollment.domain.errors import (
    Conflict,
    DatabaseUnavailable,
    EnrollmentError,
    Overloaded,
)
from enrollment.runtime.metrics.instruments import COMMIT_GROUP_REQUESTS
from enrollment.runtime.tracing.spans import ACTIVE
from intake_store import group_store
from intake_store.group_store import Receipt, Storable, StoreResult
from intake_store.upload import CompleteUpload

log = structlog.get_logger()

#: Maximum number of requests in one transaction.
MAX_GROUP_REQUESTS = 1_000
#: Maximum bytes of the uploads in one transaction, so that single requests do not wait for long.
MAX_GROUP_UPLOAD_BYTES = 1_000_000
#: After a group of this size, the next transaction is delayed by `COMMIT_DELAY_SECONDS` so that
#: more requests join it: a transaction costs about as much for one request as for a hundred.
COMMIT_DELAY_THRESHOLD = 32
COMMIT_DELAY_SECONDS = 0.004
#: Maximum number of requests that wait for their transaction; more are rejected.
MAX_PENDING_REQUESTS = 10_000
#: If a transaction fails after more than these seconds, all waiting requests fail with it.
MAX_FAILURE_SECONDS = 3.0


class _Pending(NamedTuple):
    request: Storable
    future: asyncio.Future[Receipt]


class GroupCommitter:
    """Stores single requests and small uploads in groups. One per event loop."""

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
        self._pending: list[_Pending] = []
        self._committing: asyncio.Task[None] | None = None

    async def accept(self, request: Storable) -> Receipt:
        """Stores a request durably and returns its receipt.

        Raises KeyReused, Overloaded, DatabaseUnavailable. After DatabaseUnavailable the request
        may be stored: the client repeats it with the same Idempotency-Key.
        """
        if ACTIVE.recorder is not None:
            return await store_traced(request, self._enqueue)
        return await self._enqueue(request)

    def _enqueue(self, request: Storable) -> asyncio.Future[Receipt]:
        """Adds a request to those that wait. Raises Overloaded."""
        if len(self._pending) >= MAX_PENDING_REQUESTS:
            message = "too many requests wait to be stored"
            raise Overloaded(message)
        pending = _Pending(request, asyncio.get_running_loop().create_future())
        self._pending.append(pending)
        if self._committing is None:
            self._committing = asyncio.create_task(self._commit_all())
        return pending.future

    async def _commit_all(self) -> None:
        """Commits groups until no request waits."""
        try:
            while self._pending:
                await self._commit_next_group()
        finally:
            self._committing = None

    async def _commit_next_group(self) -> None:
        size = _group_size(self._pending)
        group, self._pending = self._pending[:size], self._pending[size:]
        await self._commit(group)
        if len(group) >= COMMIT_DELAY_THRESHOLD:
            await asyncio.sleep(COMMIT_DELAY_SECONDS)

    async def _commit(self, group: list[_Pending], *, is_retry: bool = False) -> None:
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
            await self._commit_halves(group, error)
            return
        COMMIT_GROUP_REQUESTS.observe(len(group))
        for pending, result in zip(group, results, strict=True):
            _resolve(pending, result)

    async def _commit_halves(self, group: list[_Pending], error: Exception) -> None:
        """Stores a group in two transactions, and so on, so that only the faulty ones fail."""
        if len(group) == 1:
            log.error("single.not_stored", exc_info=error)
            _fail(group, error)
            return
        middle = len(group) // 2
        await self._commit(group[:middle])
        await self._commit(group[middle:])

    def _store(self, requests: Sequence[Storable]) -> list[StoreResult]:
        """Stores requests in a pool thread and dispatches their batches."""
        stored = group_store.store_group(self._database.sessions, requests, self._monotonic)
        for batch in stored.dispatch:
            self._dispatcher.dispatch(batch)
        return stored.results


def _group_size(pending: Sequence[_Pending]) -> int:
    """Returns how many of the waiting requests the next transaction stores."""
    upload_bytes = size = 0
    for size, (request, _) in enumerate(islice(pending, MAX_GROUP_REQUESTS), 1):  # noqa: B007
        if isinstance(request, CompleteUpload):
            upload_bytes += request.payload_bytes
            if upload_bytes > MAX_GROUP_UPLOAD_BYTES:
                break
    return size


def _resolve(pending: _Pending, result: StoreResult) -> None:
    """Sets the result, unless the request was cancelled."""
    if pending.future.done():
        return
    if isinstance(result, EnrollmentError):
        pending.future.set_exception(result)
    else:
        pending.future.set_result(result)


def _fail(group: Sequence[_Pending], error: Exception) -> None:
    for pending in group:
        if not pending.future.done():
            pending.future.set_exception(error)
