"""Checks of outcomes: I5 to I7, the limit of attempts, and the reference model."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from datetime import datetime

from tests.fault_lab.simulator.checks.database_contents import Batch, Records
from tests.fault_lab.simulator.checks.model import Answer, Key, Model, Rank
from tests.fault_lab.simulator.checks.rows import Row
from tests.fault_lab.simulator.history import History
from tests.fault_lab.simulator.workload import POISON

#: Outcomes that change nothing.
NOT_GRANTED = frozenset({"refused", "invalid", "cancelled"})


def order_of_calls(rows: list[Row]) -> Iterator[str]:
    """I7: a request that was answered 202 before another was sent ranks below it."""
    by_key: dict[Key, list[Row]] = defaultdict(list)
    for row in rows:
        if row.wish.stated is None and row.attempt.id is not None:
            by_key[row.wish.course_id, row.wish.user].append(row)
    for same in by_key.values():
        for first in same:
            for second in same:
                before = 0 <= first.attempt.heard < second.attempt.asked
                if before and not first.asked.rank < second.asked.rank:
                    yield f"I7: {first.name} came before {second.name} and ranks above it"


def latest_wins(rows: list[Row], records: Records) -> Iterator[str]:
    """I7: the latest applied change of each field is in force."""
    active: dict[Key, tuple[Rank, bool]] = {}
    modes: dict[Key, tuple[Rank, str]] = {}
    for row in rows:
        if row.code in NOT_GRANTED:
            continue
        key, rank = (row.wish.course_id, row.wish.user), row.asked.rank
        if key not in active or active[key][0] < rank:
            active[key] = rank, row.wish.is_active
        if row.wish.mode is not None and (key not in modes or modes[key][0] < rank):
            modes[key] = rank, row.wish.mode
    stands = {
        key: (is_active, modes[key][1] if key in modes else "audit")
        for key, (_, is_active) in active.items()
    }
    yield from _differences("I7: the latest wishes come to", stands, records.enrollments)


def _differences(
    what: str, wanted: Mapping[Key, object], kept: Mapping[Key, object]
) -> Iterator[str]:
    for key in sorted(wanted.keys() | kept.keys()):
        if wanted.get(key) != kept.get(key):
            yield f"{what} {wanted.get(key)} for {key}, but it is {kept.get(key)}"


def given_up(rows: list[Row]) -> Iterator[str]:
    """Poison requests come to `internal_error`, and no others do."""
    for row in rows:
        is_given_up = row.reason == "internal_error"
        if is_given_up != (row.wish.user == POISON) and row.code != "cancelled":
            yield f"law 9: {row.name} came to {row.code}, {row.reason}"


def attempts_counted(history: History, records: Records) -> Iterator[str]:
    """Only failures count as attempts; a batch that another worker has locked is no failure."""
    for batch in records.batches.values():
        if batch.attempts and not history.failures:
            yield f"law 9: batch {batch.id} has {batch.attempts} attempts and nothing failed"


def nothing_refused(rows: list[Row]) -> Iterator[str]:
    """No request is refused if no rule depends on other requests."""
    for row in rows:
        if row.code in {"refused", "invalid"} and row.wish.user != POISON:
            yield f"I6: {row.name} came to {row.code}, {row.reason}"


def seats(history: History, records: Records) -> Iterator[str]:
    """I6: the seats taken never exceed the capacity at that position of the feed."""
    taken: Counter[str] = Counter()
    for event in records.events:
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


def replayed(history: History, records: Records) -> Iterator[str]:
    """I5, I6: the reference model, run in the order of processing, gives the same outcomes."""
    model = Model(dict(history.courses), set(history.invited))
    works: dict[datetime, list[Batch]] = defaultdict(list)
    for batch in records.batches.values():
        if batch.answered_at is not None and not batch.is_cancelled:
            works[batch.answered_at].append(batch)
    edits = sorted(history.edits, key=lambda edit: edit.at)
    for at in sorted(works):
        while edits and edits[0].at < at:
            edits.pop(0).apply(model)
        for batch in sorted(works[at], key=lambda one: (one.waiting_since or at, one.id)):
            yield from _judged_the_same(batch, history, records, model)
    stands = {key: (one.is_active, one.mode) for key, one in model.records.items()}
    yield from _differences("I5: the model comes to", stands, records.enrollments)


def _judged_the_same(
    batch: Batch, history: History, records: Records, model: Model
) -> Iterator[str]:
    rows = []
    for (kept, place), outcome in zip(records.rows_of(batch), batch.outcomes, strict=True):
        attempt = history.named(kept.label)
        assert attempt is not None
        reason = None if outcome.reason is None else outcome.reason.value
        rows.append(Row(attempt, kept, place, outcome.code.value, reason))
    judged = [row for row in rows if row.code != "cancelled" and row.reason != "internal_error"]
    atomic = bool(rows) and rows[0].attempt.is_atomic
    wanted: list[Answer] = model.judge_all([row.asked for row in judged], all_or_nothing=atomic)
    for row, answer in zip(judged, wanted, strict=True):
        if (row.code, row.reason) != answer:
            told = (row.code, row.reason)
            yield f"I6: {row.name} in batch {batch.id} came to {told}, the model to {answer}"
