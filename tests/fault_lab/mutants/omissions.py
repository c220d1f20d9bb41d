"""Mutants that omit a step or do it twice."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import select, update

from enrollment.domain.errors import Conflict
from enrollment.storage import idempotency
from enrollment.storage.engine.sessions import Sessions, database_now
from enrollment.storage.queue import batches, claims, lane_floor, quarantine
from enrollment.storage.queue.batches import BatchRef
from enrollment.storage.queue.lane_floor import LaneFloor
from enrollment.storage.tables import BatchRow
from intake_store import group_store
from tests.fault_lab.mutants.registry import mutant, mutant_that_shows
from tests.fault_lab.simulator.environment import patched
from tests.fault_lab.simulator.fault_rates import FaultRates
from worker.maintenance import Maintenance
from worker.processing import attempts


@mutant
def no_redispatch() -> Iterator[None]:
    """Overdue batches are never redispatched."""
    with patched(Maintenance, "redispatch_overdue", lambda _: 0):
        yield


@mutant
def next_batch_only_in_message() -> Iterator[None]:
    """The turn of a file's next batch is only in a message, not in a row."""
    real = batches.mark_dispatched

    def announce(
        session: Any, submission_id: Any, ordinal: int, *, now: datetime
    ) -> BatchRef | None:
        waiting = real(session, submission_id, ordinal, now=now)
        if ordinal > 0 and waiting is not None:
            forget = update(BatchRow).where(BatchRow.id == waiting.id)
            session.execute(forget.values(announced_at=None))
        return waiting

    with patched(batches, "mark_dispatched", announce):
        yield


@mutant
def attempt_start_not_stored() -> Iterator[None]:
    """The start of an attempt is not stored, so a worker that dies leaves no trace."""
    real = quarantine.save_attempts

    def save(session: Any, recorded: Sequence[Any], **how: Any) -> None:
        real(session, [one for one in recorded if one.search.begun_at is None], **how)

    with patched(quarantine, "save_attempts", save):
        yield


@mutant
def claim_without_guard() -> Iterator[None]:
    """A worker processes any batch it receives, whether it has outcomes or not."""
    unconditional = select(*claims._CLAIMABLE.selected_columns).where(
        BatchRow.announced_at.is_not(None), BatchRow.parked_at.is_(None)
    )
    real = claims._CLAIM.whereclause
    by_id = real.clauses[-1]  # type: ignore[union-attr]
    with patched(claims, "_CLAIM", unconditional.where(by_id)):
        yield


@mutant
def key_checked_outside_transaction() -> Iterator[None]:
    """Idempotency keys are looked up before the transaction that stores the single request."""
    real_store, real_claim = group_store.store_group, idempotency.claim

    def store(sessions: Sessions, requests: Any, monotonic: Any) -> Any:
        with sessions.read() as session:
            owners = {(one.caller.name, one.key) for one in requests if one.key}
            used = idempotency.find(session, owners)

        def claim(session: Any, uses: Any, *, now: datetime) -> set[idempotency.KeyOwner]:
            real_claim(session, uses, now=now)
            return {(use.caller, use.key) for use in uses} - used.keys()

        with patched(idempotency, "claim", claim):
            return real_store(sessions, requests, monotonic)

    with patched(group_store, "store_group", store):
        yield


def _nothing_fails(rates: FaultRates) -> bool:
    """Returns whether claims skip rows and nothing crashes, raises or is unavailable."""
    failing = rates.crash or rates.away or rates.raising or rates.poison
    return rates.skipped > 0.0 and not failing


@mutant_that_shows(_nothing_fails)
def conflict_counted_as_failure() -> Iterator[None]:
    """A conflict with another worker at the claim leaves the attempt counted."""
    real = attempts.reclaim_attempted

    def reclaim(session: Any, attempted: Sequence[Any], **options: Any) -> list[Any]:
        try:
            return real(session, attempted, **options)
        except Conflict:
            return []

    with patched(attempts, "reclaim_attempted", reclaim):
        yield


@mutant
def lane_floor_never_lowered() -> Iterator[None]:
    """Claims search from a floor that only rises: no full search, and none from a message."""
    real = claims.claim_lane

    def claim_lane(session: Any, lane: Any, floor: LaneFloor, *, busy: Any = (), **_: Any) -> Any:
        claimed = real(session, lane, floor, busy=busy)
        oldest = claimed.batches[0].waiting_since if claimed.batches else database_now(session)
        floor.record_full_search(max(oldest, _floor_of(floor) + lane_floor.MARGIN))
        return claimed

    with patched(LaneFloor, "search_start", _floor_of), patched(claims, "claim_lane", claim_lane):
        yield


def _floor_of(floor: LaneFloor, _: datetime | None = None) -> Any:
    return floor._floor
