"""Intake of singles: kept durably, many in one transaction, before anybody hears 202.

Singles that arrive while a commit is under way are written together in the next one.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

import structlog

from api_gateway.callers import Caller
from api_gateway.records import Records
from api_gateway.ringing import Ringer
from enrollment.domain.codes import Lane
from enrollment.domain.errors import KeyReused, Overloaded, RecordsUnavailable
from enrollment.ids import uuid7
from enrollment.storage import batches, idempotency, submissions
from enrollment.storage.batches import NewBatch, Waiting
from enrollment.storage.idempotency import KeyUse
from enrollment.storage.sessions import Sessions, clock
from enrollment.storage.submissions import NewSingle
from schemas.requests import AskedRequest
from schemas.singles import Single, encode_singles

log = structlog.get_logger()

#: Singles in one transaction at most.
MAX_TOGETHER = 1_000
#: Singles that may wait for their transaction before more are turned away.
MAX_WAITING = 10_000


class Asking(NamedTuple):
    """A single request that passed the gate."""

    caller: Caller
    request: AskedRequest
    #: Monotonic seconds at which its first byte was read.
    first_byte: float
    request_id: str | None = None
    key: str | None = None
    #: SHA-256 of all that makes the request the same; only where there is a key.
    fingerprint: bytes = b""


class Receipt(NamedTuple):
    """What a caller gets for a single: durable, or taken in before under the same key."""

    submission_id: UUID
    received_at: datetime
    #: The batch that it waits in; None where it is replayed.
    batch_id: int | None


class _Seat(NamedTuple):
    asking: Asking
    receipt: asyncio.Future[Receipt]


class Intake:
    """Takes singles in. One per event loop."""

    def __init__(
        self, records: Records, ringer: Ringer, *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._records = records
        self._ringer = ringer
        self._monotonic = monotonic
        self._waiting: list[_Seat] = []
        self._committing: asyncio.Task[None] | None = None

    async def accept(self, asking: Asking) -> Receipt:
        """Keep a single durably.

        Raises KeyReused, Overloaded, RecordsUnavailable (then it may or may not be kept: the
        caller asks again, with the same Idempotency-Key).
        """
        if len(self._waiting) >= MAX_WAITING:
            message = "too many requests wait to be stored"
            raise Overloaded(message)
        seat = _Seat(asking, asyncio.get_running_loop().create_future())
        self._waiting.append(seat)
        if self._committing is None:
            self._committing = asyncio.create_task(self._commit_all())
        return await seat.receipt

    async def _commit_all(self) -> None:
        try:
            while self._waiting:
                group, self._waiting = (
                    self._waiting[:MAX_TOGETHER],
                    self._waiting[MAX_TOGETHER:],
                )
                await self._commit(group)
        finally:
            self._committing = None

    async def _commit(self, group: list[_Seat]) -> None:
        askings = [seat.asking for seat in group]
        try:
            receipts = await self._records.run(lambda: self._store(askings))
        except (RecordsUnavailable, Overloaded) as error:
            _fail(group, error)
            return
        except Exception as error:  # noqa: BLE001 (whatever it is, others in the group live)
            await self._alone(group, error)
            return
        for seat, receipt in zip(group, receipts, strict=True):
            _resolve(seat, receipt)

    async def _alone(self, group: list[_Seat], error: Exception) -> None:
        """One that cannot be stored never fails the others: each gets its own transaction."""
        if len(group) == 1:
            log.error("single.not_stored", exc_info=error)
            _fail(group, error)
            return
        for seat in group:
            await self._commit([seat])

    def _store(self, askings: Sequence[Asking]) -> list[Receipt | KeyReused]:
        batch = store_singles(self._records.sessions, askings, self._monotonic)
        if batch.batch_id is not None:
            self._ringer.ring(Waiting(batch.batch_id, Lane.INTERACTIVE))
        return batch.receipts


class Stored(NamedTuple):
    """What one transaction took in; ``batch_id`` is None where all was replayed."""

    receipts: list[Receipt | KeyReused]
    batch_id: int | None


def store_singles(
    sessions: Sessions, askings: Sequence[Asking], monotonic: Callable[[], float]
) -> Stored:
    """Store singles in one transaction; those with a key that was used before are replayed."""
    with sessions.begin() as session:
        waited_until = monotonic()
        now = clock(session)
        ids = [uuid7(now) for _ in askings]
        uses = _uses(askings, ids)
        taken = idempotency.claim(session, list(uses.values()), now=now)
        fresh = [
            (asking, id_)
            for asking, id_ in zip(askings, ids, strict=True)
            if asking.key is None
            or (
                (asking.caller.name, asking.key) in taken
                and uses[asking.caller.name, asking.key].submission_id == id_
            )
        ]
        singles = [
            Single(
                id_,
                asking.caller.name,
                asking.caller.kind,
                now - timedelta(seconds=max(0.0, waited_until - asking.first_byte)),
                asking.request,
            )
            for asking, id_ in fresh
        ]
        batch_id = None
        if singles:
            batch = NewBatch(len(singles), encode_singles(singles))
            batch_id = batches.add_singles(session, batch, now=now)
            news = [
                NewSingle(s.submission_id, s.caller, s.caller_kind, s.received_at, a.request_id)
                for s, (a, _) in zip(singles, fresh, strict=True)
            ]
            submissions.add_singles(session, news, batch_id=batch_id)
    receipts = {s.submission_id: Receipt(s.submission_id, s.received_at, batch_id) for s in singles}
    replayed = _replayed(sessions, askings, ids, receipts)
    return Stored([receipts.get(id_) or replayed[id_] for id_ in ids], batch_id)


def _uses(askings: Sequence[Asking], ids: Sequence[UUID]) -> dict[tuple[str, str], KeyUse]:
    """The keys of a group; of two the same the first counts."""
    uses: dict[tuple[str, str], KeyUse] = {}
    for asking, id_ in zip(askings, ids, strict=True):
        if asking.key is not None:
            use = KeyUse(asking.caller.name, asking.key, asking.fingerprint, id_)
            uses.setdefault((use.caller, use.key), use)
    return uses


def _replayed(
    sessions: Sessions,
    askings: Sequence[Asking],
    ids: Sequence[UUID],
    receipts: dict[UUID, Receipt],
) -> dict[UUID, Receipt | KeyReused]:
    """What the keys that were used before stand for."""
    again = {
        id_: asking
        for asking, id_ in zip(askings, ids, strict=True)
        if id_ not in receipts and asking.key is not None
    }
    if not again:
        return {}
    with sessions.read() as session:
        known = idempotency.find(
            session, {(asking.caller.name, asking.key or "") for asking in again.values()}
        )
        heads = submissions.find_all(session, {use.submission_id for use in known.values()})
    answers: dict[UUID, Receipt | KeyReused] = {}
    for id_, asking in again.items():
        use = known.get((asking.caller.name, asking.key or ""))
        head = None if use is None else heads.get(use.submission_id)
        if use is None or head is None:
            message = "an Idempotency-Key was purged while it was looked at"
            raise RecordsUnavailable(message)
        answers[id_] = (
            Receipt(use.submission_id, head.received_at, None)
            if use.fingerprint == asking.fingerprint
            else KeyReused(asking.key)
        )
    return answers


def _resolve(seat: _Seat, receipt: Receipt | KeyReused) -> None:
    if seat.receipt.done():
        return
    if isinstance(receipt, KeyReused):
        seat.receipt.set_exception(receipt)
    else:
        seat.receipt.set_result(receipt)


def _fail(group: Sequence[_Seat], error: Exception) -> None:
    for seat in group:
        if not seat.receipt.done():
            seat.receipt.set_exception(error)
