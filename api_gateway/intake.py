"""Intake of singles: kept durably, many in one transaction, before anybody hears 202.

Singles that arrive while a commit is under way are written together in the next one.
"""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

import structlog
from sqlalchemy.orm import Session

from api_gateway.callers import Caller
from api_gateway.records import Records
from api_gateway.ringing import Ringer
from enrollment.domain.codes import Lane
from enrollment.domain.errors import (
    Conflict,
    EnrollmentError,
    KeyReused,
    Overloaded,
    RecordsUnavailable,
)
from enrollment.failpoints import Point, reached
from enrollment.ids import uuid7s
from enrollment.storage import batches, idempotency, submissions
from enrollment.storage.batches import NewBatch, Waiting
from enrollment.storage.idempotency import KeyUse, Used
from enrollment.storage.sessions import Sessions, clock
from enrollment.storage.submissions import NewSingle
from schemas.parsed import ParsedRequest
from schemas.single_payload import Single, encode_singles

log = structlog.get_logger()

#: Singles in one transaction at most.
MAX_TOGETHER = 1_000
#: After a group of so many, the next is given a moment to gather: a transaction costs the
#: same for one and for a hundred.
CROWD = 32
GATHER_SECONDS = 0.004
#: Singles that may wait for their transaction before more are turned away.
MAX_WAITING = 10_000
#: Who waited behind a transaction that took so many seconds to fail does not wait for another.
LONG_SECONDS = 3.0


class Asking(NamedTuple):
    """A single request that passed the gate."""

    caller: Caller
    request: ParsedRequest
    #: Monotonic seconds at which its first byte was read.
    first_byte: float
    request_id: str | None = None
    key: str | None = None
    #: SHA-256 of all that makes the request the same; only where there is a key.
    fingerprint: bytes = b""

    @property
    def used(self) -> Used | None:
        """The caller and the key, where there is a key."""
        return None if self.key is None else (self.caller.name, self.key)


class Receipt(NamedTuple):
    """What a caller gets for a single: durable, or taken in before under the same key."""

    submission_id: UUID
    received_at: datetime
    #: The batch that it waits in; None where it is replayed.
    batch_id: int | None


#: What became of one asking: a receipt, or what is raised to who asked.
Answer = Receipt | EnrollmentError


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
                if len(group) >= CROWD:
                    await asyncio.sleep(GATHER_SECONDS)
        finally:
            self._committing = None

    async def _commit(self, group: list[_Seat], *, again: bool = False) -> None:
        askings = [seat.asking for seat in group]
        began = self._monotonic()
        try:
            answers = await self._records.run(lambda: self._store(askings))
        except (RecordsUnavailable, Overloaded) as error:
            _fail(group, error)
            if self._monotonic() - began > LONG_SECONDS:
                _fail(self._waiting, error)
                self._waiting = []
            return
        except Conflict as conflict:
            if again:
                _fail(group, RecordsUnavailable(str(conflict)))
            else:
                await self._commit(group, again=True)
            return
        except Exception as error:  # noqa: BLE001 (whatever it is, others in the group live)
            await self._alone(group, error)
            return
        for seat, answer in zip(group, answers, strict=True):
            _resolve(seat, answer)

    async def _alone(self, group: list[_Seat], error: Exception) -> None:
        """One that cannot be stored never fails the others: each gets its own transaction."""
        if len(group) == 1:
            log.error("single.not_stored", exc_info=error)
            _fail(group, error)
            return
        for seat in group:
            await self._commit([seat])

    def _store(self, askings: Sequence[Asking]) -> list[Answer]:
        stored = store_singles(self._records.sessions, askings, self._monotonic)
        if stored.batch_id is not None:
            self._ringer.ring(Waiting(stored.batch_id, Lane.INTERACTIVE))
        return stored.answers


class Stored(NamedTuple):
    """What one transaction took in; ``batch_id`` is None where all was replayed."""

    answers: list[Answer]
    batch_id: int | None


def store_singles(
    sessions: Sessions, askings: Sequence[Asking], monotonic: Callable[[], float]
) -> Stored:
    """Store singles in one transaction; those with a key that was used before are replayed."""
    with sessions.begin() as session:
        session.connection()  # what it takes to get one is time waited too
        waited_until = monotonic()
        now = clock(session)
        ids = uuid7s(now, len(askings))
        fresh = _fresh(session, askings, ids, now)
        singles = [_single(ids[place], askings[place], waited_until, now) for place in fresh]
        batch_id = None
        if singles:
            batch = NewBatch(len(singles), encode_singles(singles))
            batch_id = batches.add_singles(session, batch, now=now)
            news = [_new(one, askings[place]) for one, place in zip(singles, fresh, strict=True)]
            submissions.add_singles(session, news, batch_id=batch_id)
        answers: dict[int, Answer] = {
            place: Receipt(one.submission_id, one.received_at, batch_id)
            for one, place in zip(singles, fresh, strict=True)
        }
        again = [place for place in range(len(askings)) if place not in answers]
        answers |= _replayed(session, {place: askings[place] for place in again})
        reached(Point.INTAKE_BEFORE_COMMIT)
    reached(Point.INTAKE_COMMITTED)
    return Stored([answers[place] for place in range(len(askings))], batch_id)


def _fresh(
    session: Session, askings: Sequence[Asking], ids: Sequence[UUID], now: datetime
) -> list[int]:
    """The places of those that were not asked before under their key."""
    uses: dict[Used, KeyUse] = {}
    for asking, id_ in zip(askings, ids, strict=True):
        if asking.used is not None:
            use = KeyUse(*asking.used, asking.fingerprint, id_)
            uses.setdefault(asking.used, use)  # of two the same the first counts
    free = idempotency.claim(session, list(uses.values()), now=now)
    return [
        place
        for place, asking in enumerate(askings)
        if asking.used is None
        or (asking.used in free and uses[asking.used].submission_id == ids[place])
    ]


def _single(id_: UUID, asking: Asking, waited_until: float, now: datetime) -> Single:
    waited = timedelta(seconds=max(0.0, waited_until - asking.first_byte))
    caller = asking.caller
    return Single(id_, caller.name, caller.kind, now - waited, asking.request)


def _new(single: Single, asking: Asking) -> NewSingle:
    return NewSingle(
        single.submission_id,
        single.caller,
        single.caller_kind,
        single.received_at,
        asking.request_id,
    )


def _replayed(session: Session, again: Mapping[int, Asking]) -> dict[int, Answer]:
    """What keys that were used before stand for; claiming them has waited for who used them."""
    if not again:
        return {}
    known = idempotency.find(session, {asking.used for asking in again.values() if asking.used})
    heads = submissions.find_all(session, {use.submission_id for use in known.values()})
    answers: dict[int, Answer] = {}
    for place, asking in again.items():
        use = known.get(asking.used or ("", ""))
        head = None if use is None else heads.get(use.submission_id)
        if use is not None and use.fingerprint != asking.fingerprint:
            answers[place] = KeyReused(asking.key)
        elif use is None or head is None:
            answers[place] = RecordsUnavailable("an Idempotency-Key was purged just now")
        else:
            answers[place] = Receipt(use.submission_id, head.received_at, None)
    return answers


def _resolve(seat: _Seat, answer: Answer) -> None:
    if seat.receipt.done():
        return
    if isinstance(answer, EnrollmentError):
        seat.receipt.set_exception(answer)
    else:
        seat.receipt.set_result(answer)


def _fail(group: Sequence[_Seat], error: Exception) -> None:
    for seat in group:
        if not seat.receipt.done():
            seat.receipt.set_exception(error)
