"""Checks of outcomes: I5 to I7, the limit of attempts, and the reference model."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from datetime import datetime

from tests.fault_lab.simulator.checks.database_contents import Batch, DatabaseContents
from tests.fault_lab.simulator.checks.model import Answer, Key, Model, Rank
from tests.fault_lab.simulator.checks.rows import Row
from tests.fault_lab.simulator.history import History
from tests.fault_lab.simulator.workload import POISON

#: Outcomes that change nothing.
NOT_GRANTED = frozenset({"refused", "invalid", "cancelled", "skipped"})


def order_of_calls(rows: list[Row]) -> Iterator[str]:
    """I7: a request that was answered 202 before another was sent ranks below it."""
    by_key: dict[Key, list[Row]] = defaultdict(list)
    for row in rows:
        if row.change.stated is None and row.attempt.id is not None:
            by_key[row.change.course_id, row.change.user].append(row)
    for same in by_key.values():
        for first in same:
            for second in same:
                before = 0 <= first.attempt.answered_order < second.attempt.sent_order
                if before and not first.submitted.rank < second.submitted.rank:
                    yield f"I7: {first.name} came before {second.name} and ranks above it"


def latest_wins(rows: list[Row], contents: DatabaseContents) -> Iterator[str]:
    """I7: the latest applied change of each field is in force."""
    active: dict[Key, tuple[Rank, bool]] = {}
    modes: dict[Key, tuple[Rank, str]] = {}
    for row in rows:
        if row.code in NOT_GRANTED:
            continue
        key, rank = (row.change.course_id, row.change.user), row.submitted.rank
        if key not in active or active[key][0] < rank:
            active[key] = rank, row.change.is_active
        if row.change.mode is not None and (key not in modes or modes[key][0] < rank):
            modes[key] = rank, row.change.mode
    final_state = {
        key: (is_active, modes[key][1] if key in modes else "audit")
        for key, (_, is_active) in active.items()
    }
    yield from _differences("I7: the latest requests give", final_state, contents.enrollments)


def _differences(
    what: str, expected: Mapping[Key, object], stored: Mapping[Key, object]
) -> Iterator[str]:
    for key in sorted(expected.keys() | stored.keys()):
        if expected.get(key) != stored.get(key):
            yield f"{what} {expected.get(key)} for {key}, but it is {stored.get(key)}"


def poison_rejected(rows: list[Row]) -> Iterator[str]:
    """Poison requests come to `internal_error`, and no others do."""
    for row in rows:
        is_rejected = row.reason == "internal_error"
        if is_rejected != (row.change.user == POISON) and row.code != "cancelled":
            yield f"attempts: {row.name} has the outcome {row.code}, {row.reason}"


def attempts_counted(history: History, contents: DatabaseContents) -> Iterator[str]:
    """Only failures count as attempts; a batch that another worker has locked is no failure."""
    for batch in contents.batches.values():
        if batch.attempts and not history.failures:
            yield f"attempts: batch {batch.id} has {batch.attempts} attempts and nothing failed"


def nothing_refused(rows: list[Row]) -> Iterator[str]:
    """No request is refused if no rule depends on other requests."""
    for row in rows:
        if row.code in {"refused", "invalid", "skipped"} and row.change.user != POISON:
            yield f"I6: {row.name} has the outcome {row.code}, {row.reason}"


def seats(history: History, contents: DatabaseContents) -> Iterator[str]:
    """I6: the seats taken never exceed the capacity at that position of the feed."""
    taken: Counter[str] = Counter()
    for event in contents.events:
        was = event.before is not None and event.before["is_active"]
        change = event.after["is_active"] - was
        taken[event.course_id] += change
        known = [
            one.seats
            for one in history.capacities
            if one.course_id == event.course_id and one.after < event.position
        ]
        if change > 0 and known[-1] is not None and taken[event.course_id] > known[-1]:
            yield f"I6: {event.course_id} gives seat {taken[event.course_id]} of {known[-1]}"


def replayed(history: History, contents: DatabaseContents) -> Iterator[str]:
    """I5, I6: the reference model, run in the order of processing, gives the same outcomes."""
    model = Model(dict(history.courses), set(history.invited))
    processed: dict[datetime, list[Batch]] = defaultdict(list)
    for batch in contents.batches.values():
        if batch.answered_at is not None and not batch.is_cancelled:
            processed[batch.answered_at].append(batch)
    edits = sorted(history.edits, key=lambda edit: edit.at)
    for at in sorted(processed):
        while edits and edits[0].at < at:
            edits.pop(0).apply(model)
        for batch in sorted(processed[at], key=lambda one: (one.waiting_since or at, one.id)):
            yield from _same_decisions(batch, history, contents, model)
    final_state = {key: (one.is_active, one.mode) for key, one in model.enrollments.items()}
    yield from _differences("I5: the model gives", final_state, contents.enrollments)


def _same_decisions(
    batch: Batch, history: History, contents: DatabaseContents, model: Model
) -> Iterator[str]:
    rows = []
    for (stored, place), outcome in zip(contents.rows_of(batch), batch.outcomes, strict=True):
        attempt = history.named(stored.label)
        assert attempt is not None
        reason = None if outcome.reason is None else outcome.reason.value
        rows.append(Row(attempt, stored, place, outcome.code.value, reason))
    decided = [row for row in rows if row.code != "cancelled" and row.reason != "internal_error"]
    atomic = bool(rows) and rows[0].attempt.is_atomic
    expected: list[Answer] = model.decide_all(
        [row.submitted for row in decided], all_or_nothing=atomic
    )
    for row, answer in zip(decided, expected, strict=True):
        if (row.code, row.reason) != answer:
            actual = (row.code, row.reason)
            yield f"I6: {row.name} in batch {batch.id} came to {actual}, the model to {answer}"
