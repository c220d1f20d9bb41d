"""Checks of intake, outcomes and cancellation: I1 to I4."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from uuid import UUID

from enrollment.domain.model import Outcome
from tests.fault_lab.simulator.checks.database_contents import Batch, DatabaseContents, Submission
from tests.fault_lab.simulator.history import History
from tests.fault_lab.simulator.workload import Attempt


def ids(history: History, contents: DatabaseContents) -> Iterator[str]:
    """I1: every submission that was answered 202 is stored."""
    for attempt in history.attempts:
        if attempt.id is None:
            continue
        stored = contents.submissions.get(attempt.id)
        if stored is None or stored.published_at is None:
            yield f"I1: {attempt} was answered 202 and is not stored"


def keys(history: History, contents: DatabaseContents) -> Iterator[str]:
    """I4: one key belongs to one submission and to one content."""
    rows = {one.label: one.id for one in contents.submissions.values() if one.published_at}
    uses: dict[tuple[str, str], list[Attempt]] = defaultdict(list)
    for attempt in history.attempts:
        if attempt.key is not None:
            uses[attempt.caller.name, attempt.key].append(attempt)
    for key, attempts in uses.items():
        made = {rows[a.label]: a for a in attempts if a.label in rows}
        answered_ids = {a.id for a in attempts if a.id is not None}
        if len(made) > 1 or len(answered_ids) > 1:
            yield f"I4: {key} stands for {sorted(a.label for a in made.values())}, {len(answered_ids)} answered"
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
            yield f"I4: {attempt} was answered as {first}"


def phantoms(history: History, contents: DatabaseContents) -> Iterator[str]:
    """I3: nothing is stored that no client sent, or that was refused."""
    for stored in contents.submissions.values():
        attempt = history.named(stored.label)
        if attempt is None:
            yield f"I3: a submission of {stored.label!r}, which no client sent"
        elif attempt.is_reuse:
            yield f"I3: {attempt} was refused and is stored"
        elif stored.published_at is None:
            if history.is_purged:
                yield f"I3: {attempt} is incomplete and was not purged"
        elif stored.total != len(attempt.changes):
            yield f"I3: {attempt} has {stored.total} requests"
        elif attempt.id not in {None, stored.id}:
            yield f"I3: {attempt} is stored although it is a repetition"


def answers(history: History, contents: DatabaseContents) -> Iterator[str]:
    """I2: every stored request has exactly one outcome."""
    for stored in contents.submissions.values():
        if stored.published_at is None:
            continue
        label = stored.label
        batches = contents.batches_of(stored)
        for batch in batches:
            if batch.answered_at is None:
                state = "parked" if batch.parked_at else "waiting"
                yield f"I2: {label} has no outcome: batch {batch.id} is {state}"
            elif not batch.is_cancelled and len(batch.outcomes) != batch.requests:
                yield f"I2: batch {batch.id} has {len(batch.outcomes)} of {batch.requests}"
        if stored.batch_id is None and sum(batch.requests for batch in batches) != stored.total:
            yield f"I2: the batches of {label} do not hold {stored.total} requests"
        if stored.batch_id is None and stored.finished_at is None:
            yield f"I2: {label} is not finished"


def order_in_files(history: History, contents: DatabaseContents) -> Iterator[str]:
    """I7: the batches of one file are processed in order; several may share a transaction."""
    for batches in contents.files.values():
        moments = [b.answered_at for b in batches if b.answered_at and not b.is_cancelled]
        if moments != sorted(moments):
            yield f"I7: the batches {[batch.id for batch in batches]} were not answered in order"


def cancelled(history: History, contents: DatabaseContents) -> Iterator[str]:
    """Requests are cancelled if and only if they had no outcome when the cancellation committed."""
    for stored in contents.submissions.values():
        for batch in contents.batches_of(stored):
            yield from _cancelled_correctly(stored, batch, contents)
    for cancellation in history.cancellations:
        stored = contents.submissions.get(cancellation.submission_id)
        if stored is None or cancellation.result is None:
            continue
        label = stored.label
        last = max(
            (b.answered_at for b in contents.batches_of(stored) if b.answered_at), default=None
        )
        if cancellation.result and last is None:
            yield f"cancel: {label} was to be cancelled, and has no outcome"
        elif cancellation.result and (
            stored.cancel_asked_at is None or (last is not None and last < cancellation.began)
        ):
            yield f"cancel: {label} was to be cancelled, and had been answered"
        if not cancellation.result and (last is None or last > cancellation.ended):
            yield f"cancel: {label} was called finished, and was not"


def _cancelled_correctly(
    stored: Submission, batch: Batch, contents: DatabaseContents
) -> Iterator[str]:
    if batch.answered_at is None:
        return
    at = stored.cancel_asked_at
    expected = at is not None and at < batch.answered_at
    codes = [outcome.code.value for outcome in batch.outcomes]
    if stored.batch_id is not None:
        codes = codes[stored.position or 0 :][:1]
    is_cancelled_now = batch.is_cancelled or codes == ["cancelled"]
    if is_cancelled_now != expected or (not is_cancelled_now and "cancelled" in codes):
        yield f"cancel: batch {batch.id} of {stored.label}, cancelled {at}, has {codes}"


def outcome_reads(history: History, contents: DatabaseContents) -> Iterator[str]:
    """I2: outcomes that a client read never change."""
    for read in history.outcome_reads:
        stored = contents.submissions.get(read.submission_id)
        now = [] if stored is None else contents.outcomes_of(stored)[: len(read.outcomes)]
        if now != read.outcomes:
            label = "?" if stored is None else stored.label
            yield f"I2: outcomes of {label} were {_codes(read.outcomes)}, now {_codes(now)}"


def _codes(outcomes: Iterable[Outcome]) -> list[str]:
    return [f"{one.code}" for one in outcomes]
