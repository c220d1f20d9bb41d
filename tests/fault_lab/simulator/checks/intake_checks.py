"""Checks of intake, outcomes and cancellation: I1 to I4."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from uuid import UUID

from enrollment.domain.model import Outcome
from tests.fault_lab.simulator.checks.database_contents import Batch, Records, Submission
from tests.fault_lab.simulator.history import History
from tests.fault_lab.simulator.workload import Attempt


def ids(history: History, records: Records) -> Iterator[str]:
    """I1: every submission that was answered 202 is stored."""
    for attempt in history.attempts:
        if attempt.id is None:
            continue
        kept = records.submissions.get(attempt.id)
        if kept is None or kept.published_at is None:
            yield f"I1: {attempt} was answered 202 and is not there"


def keys(history: History, records: Records) -> Iterator[str]:
    """I4: one key belongs to one submission and to one content."""
    rows = {one.label: one.id for one in records.submissions.values() if one.published_at}
    uses: dict[tuple[str, str], list[Attempt]] = defaultdict(list)
    for attempt in history.attempts:
        if attempt.key is not None:
            uses[attempt.caller.name, attempt.key].append(attempt)
    for key, attempts in uses.items():
        made = {rows[a.label]: a for a in attempts if a.label in rows}
        told = {a.id for a in attempts if a.id is not None}
        if len(made) > 1 or len(told) > 1:
            yield f"I4: {key} stands for {sorted(a.label for a in made.values())}, {len(told)} told"
            continue
        for submission_id, first in made.items():
            yield from _same_content(first, submission_id, attempts)
        if not made and any(a.is_reuse for a in attempts):
            yield f"I4: {key} was refused as used, and stands for nothing"


def _same_content(first: Attempt, submission_id: UUID, attempts: list[Attempt]) -> Iterator[str]:
    for attempt in attempts:
        same = attempt.fingerprint == first.fingerprint
        if attempt.is_reuse and same:
            yield f"I4: {attempt} is the same as {first}, and was refused"
        if attempt.id == submission_id and not same:
            yield f"I4: {attempt} was told that it is {first}"


def phantoms(history: History, records: Records) -> Iterator[str]:
    """I3: nothing is stored that no client sent, or that was refused."""
    for kept in records.submissions.values():
        attempt = history.named(kept.label)
        if attempt is None:
            yield f"I3: a submission of {kept.label!r}, which nobody sent"
        elif attempt.is_reuse:
            yield f"I3: {attempt} was turned away and is there"
        elif kept.published_at is None:
            if history.is_tidy:
                yield f"I3: {attempt} broke off and is still there"
        elif kept.total != len(attempt.wishes):
            yield f"I3: {attempt} has {kept.total} requests"
        elif attempt.id not in {None, kept.id}:
            yield f"I3: {attempt} is there although it is a repetition"


def answers(history: History, records: Records) -> Iterator[str]:
    """I2: every stored request has exactly one outcome."""
    for kept in records.submissions.values():
        if kept.published_at is None:
            continue
        label = kept.label
        batches = records.batches_of(kept)
        for batch in batches:
            if batch.answered_at is None:
                state = "parked" if batch.parked_at else "waiting"
                yield f"I2: {label} has no outcome: batch {batch.id} is {state}"
            elif not batch.is_cancelled and len(batch.outcomes) != batch.requests:
                yield f"I2: batch {batch.id} has {len(batch.outcomes)} of {batch.requests}"
        if kept.batch_id is None and sum(batch.requests for batch in batches) != kept.total:
            yield f"I2: the batches of {label} do not hold {kept.total} requests"
        if kept.batch_id is None and kept.finished_at is None:
            yield f"I2: {label} is not finished"


def order_in_files(history: History, records: Records) -> Iterator[str]:
    """I7: the batches of one file are processed in order; several may share a transaction."""
    for batches in records.files.values():
        moments = [b.answered_at for b in batches if b.answered_at and not b.is_cancelled]
        if moments != sorted(moments):
            yield f"I7: the batches {[batch.id for batch in batches]} were not answered in order"


def cancelled(history: History, records: Records) -> Iterator[str]:
    """Requests are cancelled if and only if they had no outcome when the cancellation committed."""
    for kept in records.submissions.values():
        for batch in records.batches_of(kept):
            yield from _dropped_rightly(kept, batch, records)
    for asked in history.cancellings:
        kept = records.submissions.get(asked.submission_id)
        if kept is None or asked.said is None:
            continue
        label = kept.label
        last = max((b.answered_at for b in records.batches_of(kept) if b.answered_at), default=None)
        if asked.said and (kept.cancel_asked_at is None or last is None or last < asked.began):
            yield f"cancel: {label} was to be cancelled, and had been answered"
        if not asked.said and (last is None or last > asked.ended):
            yield f"cancel: {label} was called finished, and was not"


def _dropped_rightly(kept: Submission, batch: Batch, records: Records) -> Iterator[str]:
    if batch.answered_at is None:
        return
    at = kept.cancel_asked_at
    wanted = at is not None and at < batch.answered_at
    codes = [outcome.code.value for outcome in batch.outcomes]
    if kept.batch_id is not None:
        codes = codes[kept.position or 0 :][:1]
    dropped = batch.is_cancelled or codes == ["cancelled"]
    if dropped != wanted or (not dropped and "cancelled" in codes):
        yield f"cancel: batch {batch.id} of {kept.label}, asked {at}, came to {codes}"


def readings(history: History, records: Records) -> Iterator[str]:
    """I2: outcomes that a client read never change."""
    for read in history.readings:
        kept = records.submissions.get(read.submission_id)
        now = [] if kept is None else records.outcomes_of(kept)[: len(read.outcomes)]
        if now != read.outcomes:
            label = "?" if kept is None else kept.label
            yield f"I2: outcomes of {label} were {_codes(read.outcomes)}, now {_codes(now)}"


def _codes(outcomes: Iterable[Outcome]) -> list[str]:
    return [f"{one.code}" for one in outcomes]
