"""The promises, checked at the end of a schedule: history against records."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from enrollment.domain.codes import CallerKind
from tests.faults.simulator.history import History
from tests.faults.simulator.model import Answer, Asked, Key, Model, Rank
from tests.faults.simulator.records import Batch, Records, Submission
from tests.faults.simulator.wishes import POISON, Attempt, Wish

#: Outcomes that move nothing: the wish was not granted.
NOT_GRANTED = frozenset({"refused", "invalid", "cancelled"})


class Row(NamedTuple):
    """One request of one submission, and what became of it."""

    attempt: Attempt
    submission: Submission
    place: int
    code: str
    reason: str | None

    @property
    def wish(self) -> Wish:
        return self.attempt.wishes[self.place]

    @property
    def asked(self) -> Asked:
        return Asked(
            self.wish,
            self.submission.received_at,
            rank_of(self.wish, self.submission, self.place),
            self.attempt.caller.kind is CallerKind.ADMIN,
        )

    @property
    def name(self) -> str:
        return f"{self.attempt.label}[{self.place}] {self.wish}"


def rank_of(wish: Wish, submission: Submission, place: int) -> Rank:
    """Of two wishes for one enrollment the greater wins."""
    if wish.stated is None:
        return submission.received_at, 0, submission.place, place
    return wish.stated, 1, -submission.place, place


def faults(history: History, records: Records) -> list[str]:
    """Everything that contradicts a promise."""
    found = list(history.faults)
    for check in (ids, keys, phantoms, answers, order_in_files, cancelled, readings):
        found += check(history, records)
    if not found:
        rows = list(rows_of(history, records))
        found += [*order_of_calls(rows), *latest_wins(rows, records), *given_up(rows)]
        if history.granted:
            found += nothing_refused(rows)
        found += seats(history, records)
        if not history.overlapped:
            found += replayed(history, records)
    return found


def ids(history: History, records: Records) -> Iterator[str]:
    """I1: what was answered 202 is there."""
    for attempt in history.attempts:
        if attempt.id is None:
            continue
        kept = records.submissions.get(attempt.id)
        if kept is None or kept.published_at is None:
            yield f"I1: {attempt} was answered 202 and is not there"


def keys(history: History, records: Records) -> Iterator[str]:
    """I4: one key stands for one submission, and for one content."""
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
    """I3: nothing is there that nobody sent, or that was turned away."""
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
    """I2: everything that is there has one outcome a request."""
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
    """The batches of one file are answered one after the other."""
    for batches in records.files.values():
        moments = [b.answered_at for b in batches if b.answered_at and not b.is_cancelled]
        if moments != sorted(set(moments)):
            yield f"I7: the batches {[batch.id for batch in batches]} were not answered in order"


def cancelled(history: History, records: Records) -> Iterator[str]:
    """What was cancelled is dropped from that moment on, and nothing else is."""
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
    """I2: outcomes that were read never change."""
    for read in history.readings:
        kept = records.submissions.get(read.submission_id)
        now = [] if kept is None else records.outcomes_of(kept)[: len(read.outcomes)]
        if now != read.outcomes:
            label = "?" if kept is None else kept.label
            yield f"I2: outcomes of {label} were {_codes(read.outcomes)}, now {_codes(now)}"


def _codes(outcomes: Iterable) -> list[str]:
    return [f"{one.code}" for one in outcomes]


def rows_of(history: History, records: Records) -> Iterator[Row]:
    """Every request with its outcome."""
    for kept in records.submissions.values():
        attempt = history.named(kept.label)
        if attempt is None or kept.published_at is None:
            continue
        outcomes = records.outcomes_of(kept)
        for place in range(kept.total):
            if place < len(outcomes):
                reason = outcomes[place].reason
                code = outcomes[place].code.value
                yield Row(attempt, kept, place, code, reason.value if reason else None)
            else:
                yield Row(attempt, kept, place, "cancelled", None)


def order_of_calls(rows: list[Row]) -> Iterator[str]:
    """I7: who was answered 202 before another asked ranks below it."""
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
    """I7: of the wishes that were granted the latest stands (design law 5)."""
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


def _differences(what: str, wanted: dict[Key, object], kept: dict[Key, object]) -> Iterator[str]:
    for key in sorted(wanted.keys() | kept.keys()):
        if wanted.get(key) != kept.get(key):
            yield f"{what} {wanted.get(key)} for {key}, but it is {kept.get(key)}"


def given_up(rows: list[Row]) -> Iterator[str]:
    """Law 9: what is poisonous is given up, and nothing else is."""
    for row in rows:
        is_given_up = row.reason == "internal_error"
        if is_given_up != (row.wish.user == POISON) and row.code != "cancelled":
            yield f"law 9: {row.name} came to {row.code}, {row.reason}"


def nothing_refused(rows: list[Row]) -> Iterator[str]:
    """Where no rule looks at what others did, everybody gets what they wish."""
    for row in rows:
        if row.code in {"refused", "invalid"} and row.wish.user != POISON:
            yield f"I6: {row.name} came to {row.code}, {row.reason}"


def seats(history: History, records: Records) -> Iterator[str]:
    """I6: no seat is given beyond the capacity that a course has at that moment."""
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
    """I5, I6: the plain model, in the order of the work, comes to the same answers."""
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
