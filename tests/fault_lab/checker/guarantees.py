"""Checks I1 to I4 and I10: accepted requests are stored, get one outcome, and can be read."""

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any, NamedTuple

from enrollment.domain.codes import ChangeKind, Code, Reason
from enrollment.domain.events import CHANGE_KIND_BY_CODE
from schemas.outcomes import dump_outcome
from tests.fault_lab.checker.history_index import Attempt, HistoryIndex, Read
from tests.fault_lab.checker.ledger import Item, Ledger
from tests.fault_lab.history import Phase
from tests.fault_lab.load.client import RequestedChange, brief

#: The order of states; a submission never goes back.
_STATES = {"queued": 0, "running": 1, "done": 2, "cancelled": 2}
_KEY_REUSED = 422
#: Part of the name of each learner whose requests are poison.
POISON = "poison"


class Found(NamedTuple):
    """A violated invariant, and the key, id or submission that identifies the item."""

    invariant: str
    what: str
    about: str | None = None
    line: int | None = None


def durable(index: HistoryIndex, ledger: Ledger) -> Iterator[Found]:
    """I1: every submission that was answered 202 is stored completely."""
    for attempt in index.accepted():
        for id_ in attempt.ids:
            head = ledger.submissions.get(id_)
            if head is None:
                yield Found("I1", f"{id_} was accepted and is lost", attempt.key)
            elif head.published_at is None:
                yield Found("I1", f"{id_} was accepted and never published", attempt.key)
            elif head.total != len(attempt.changes):
                what = f"{id_} has {head.total} requests of {len(attempt.changes)}"
                yield Found("I1", what, attempt.key)
            else:
                yield from _check_lines(attempt, id_, ledger)


def _check_lines(attempt: Attempt, id_: str, ledger: Ledger) -> Iterator[Found]:
    for line, _ in attempt.changes_by_line():
        if (id_, line) not in ledger.items:
            yield Found("I1", f"line {line} of {id_} is lost", attempt.key, line)


def answered(
    index: HistoryIndex, ledger: Ledger, *, within: float, clocks_agree: bool
) -> Iterator[Found]:
    """I2: each accepted request has one outcome, in time, and it never changes."""
    latest = None if index.healed is None or not clocks_agree else index.healed + within
    for id_, what in ledger.inconsistencies:
        yield Found("I2", what, id_)
    for attempt in index.accepted():
        for line, change in attempt.changes_by_line():
            item = ledger.items.get((attempt.id or "", line))
            if item is not None:
                yield from _check_outcome(attempt, item, latest)
                yield from _check_result(index, attempt, item, change)
    yield from _check_outcome_reads(index, ledger)


def _check_outcome(attempt: Attempt, item: Item, latest: float | None) -> Iterator[Found]:
    batch, line = item.batch, item.line
    if item.outcome is None:
        state = "parked" if batch.parked_at else "waiting"
        yield Found(
            "I2", f"line {line} of {attempt.id} has no outcome ({state})", attempt.key, line
        )
    elif item.outcome.line != line:
        what = f"line {line} of {attempt.id} has the outcome of line {item.outcome.line}"
        yield Found("I2", what, attempt.key, line)
    elif latest is not None and batch.answered_at.timestamp() > latest:
        late = batch.answered_at.timestamp() - latest
        what = f"line {line} of {attempt.id} was answered {late:.1f} s later than promised"
        yield Found("I2", what, attempt.key, line)


def _check_result(
    index: HistoryIndex, attempt: Attempt, item: Item, change: RequestedChange
) -> Iterator[Found]:
    """I2: only poison requests come to internal_error, and none is invalid, skipped or cancelled."""
    outcome = item.outcome
    if outcome is None or (attempt.poison and POISON in change.user):
        return
    is_refused = outcome.code is Code.REFUSED and outcome.reason is not Reason.COURSE_FULL
    if outcome.code in {Code.INVALID, Code.CANCELLED, Code.SKIPPED} or (
        is_refused and index.is_plain(change.course_id)
    ):
        what = f"line {item.line} of {attempt.id} is {outcome.code}, {outcome.reason}"
        yield Found("I2", f"{what}, though nothing is wrong with it", attempt.key, item.line)


def _check_outcome_reads(index: HistoryIndex, ledger: Ledger) -> Iterator[Found]:
    for reads in (index.statuses, index.outcomes):
        for id_, its_reads in reads.items():
            for read in its_reads:
                for seen in read.record.facts.get("outcomes", ()):
                    yield from _check_outcome_read(id_, seen, ledger)


def _check_outcome_read(id_: str, seen: list[Any], ledger: Ledger) -> Iterator[Found]:
    item = ledger.items.get((id_, seen[0]))
    if item is None or item.outcome is None:
        what = f"line {seen[0]} of {id_} was read as {seen[1]} and has no outcome now"
        yield Found("I2", what, id_, seen[0])
    elif (now := brief(dump_outcome(item.outcome))) != seen:
        yield Found("I2", f"line {seen[0]} of {id_} was {seen} and is {now} now", id_, seen[0])


def no_phantoms(index: HistoryIndex, ledger: Ledger) -> Iterator[Found]:
    """I3: every stored request was sent, with the same content."""
    keys = {id_: key for key, id_ in ledger.keys.items()}
    for id_, head in ledger.submissions.items():
        attempt = index.by_id.get(id_) or index.keys.get(keys.get(id_, ""))
        if attempt is None and head.published_at is None:
            continue  # an incomplete upload: no reader sees it, and it is purged
        if attempt is None:
            yield Found("I3", f"{id_} is stored, but no client sent it", id_)
        elif head.published_at is not None:
            yield from _check_content(attempt, id_, ledger)
    for key, attempt in index.keys.items():
        if key in ledger.keys and not attempt.ids and not attempt.unknown:
            what = f"{ledger.keys[key]} is stored, though it was refused with {attempt.refused}"
            yield Found("I3", what, key)
    yield from _events_and_outcomes(ledger)


def _check_content(attempt: Attempt, id_: str, ledger: Ledger) -> Iterator[Found]:
    for line, change in attempt.changes_by_line():
        item = ledger.items.get((id_, line))
        if item is None:
            continue
        stored = _stored_change(item)
        if stored != _sent_change(change):
            what = f"line {line} of {id_} asks for {stored}, and {_sent_change(change)} was sent"
            yield Found("I3", what, attempt.key, line)


def _sent_change(change: RequestedChange) -> tuple[object, ...]:
    stated = change.requested_at and datetime.fromisoformat(change.requested_at)
    is_active = True if change.is_active is None else change.is_active
    return change.user, change.course_id, is_active, change.mode, stated


def _stored_change(item: Item) -> tuple[object, ...] | None:
    request = item.request
    if request is None:
        return None
    return (
        request.username,
        request.course_id,
        request.is_active,
        request.mode,
        request.requested_at,
    )


def _events_and_outcomes(ledger: Ledger) -> Iterator[Found]:
    for event in ledger.events:
        place = (str(event.submission_id), event.line)
        if place not in ledger.items:
            what = (
                f"event {event.position} is of line {place[1]} of {place[0]}, which is not stored"
            )
            yield Found("I3", what, *place)
    for item in ledger.items.values():
        yield from _event_of(item)


def _event_of(item: Item) -> Iterator[Found]:
    code = item.outcome and item.outcome.code
    kind = CHANGE_KIND_BY_CODE.get(code) if code else None
    kinds = [event.kind for event in item.events]
    if kinds not in ([] if kind is None else [kind], kind and [ChangeKind.IMPORTED]):
        actual = ", ".join(kinds) or "no event"
        what = f"line {item.line} of {item.submission_id} is {code} and has {actual}"
        yield Found("I3", what, *item.place)
    for event in item.events:
        request = item.request
        named = None if request is None else (request.username, request.course_id)
        if named != (event.username, event.course_id):
            what = f"event {event.position} is about somebody else than line {item.line}"
            yield Found("I3", what, *item.place)


def idempotent(index: HistoryIndex, ledger: Ledger) -> Iterator[Found]:
    """I4: a key belongs to one submission and one body, permanently."""
    for key, attempt in index.keys.items():
        if len(attempt.ids) > 1:
            yield Found("I4", f"the key {key} stands for {', '.join(attempt.ids)}", key)
        stored = ledger.keys.get(key)
        if attempt.ids and stored is not None and stored not in attempt.ids:
            yield Found("I4", f"the key {key} stands for {attempt.id}, but {stored} is stored", key)
        if attempt.ids and stored is None:
            yield Found("I4", f"the key {key} of {attempt.id} is forgotten", key)
        if attempt.ids and attempt.refused:
            what = f"the key {key} was refused with {attempt.refused} and stands for {attempt.id}"
            yield Found("I4", what, key)
    for record in index.reuses:
        if record.status != _KEY_REUSED:
            what = f"the key {record.key} with another body was answered {record.status}"
            yield Found("I4", what, record.key)


def reads_correct(index: HistoryIndex, ledger: Ledger) -> Iterator[Found]:
    """I10: a read after a 202 finds the submission, and its state never goes back."""
    for reads in (index.statuses, index.outcomes):
        for id_, its_reads in reads.items():
            for read in its_reads:
                if read.record.phase is Phase.FAIL:
                    what = f"{id_} was accepted, and looking at it was answered"
                    yield Found("I10", f"{what} {read.record.status}", id_)
    for id_, its_reads in index.statuses.items():
        yield from _check_progress(id_, its_reads)
    yield from _check_enrollment_reads(index, ledger)


def _check_progress(id_: str, reads: Iterable[Read]) -> Iterator[Found]:
    known = [read for read in reads if read.record.phase is Phase.OK]
    by_end = sorted(known, key=lambda read: read.ended)
    seen: dict[str, Any] | None = None
    ended = 0
    for read in sorted(known, key=lambda read: read.began):
        while ended < len(by_end) and by_end[ended].ended < read.began:
            seen = _max_progress(seen, dict(by_end[ended].record.facts))
            ended += 1
        now = read.record.facts
        if seen is None:
            continue
        if _progress(now) < _progress(seen):
            what = f"{id_} was {_progress_text(seen)} and then {_progress_text(now)}"
            yield Found("I10", what, id_)
        elif (
            _progress(now)[0] == _progress(seen)[0] == _STATES["done"]
            and now["counts"] != seen["counts"]
        ):
            yield Found("I10", f"{id_} counted {seen['counts']}, then {now['counts']}", id_)


def _max_progress(one: dict[str, Any] | None, other: dict[str, Any]) -> dict[str, Any]:
    return other if one is None or _progress(other) > _progress(one) else one


def _progress(facts: Any) -> tuple[int, int]:
    return _STATES[facts["state"]], -facts["counts"]["pending"]


def _progress_text(facts: Any) -> str:
    return f"{facts['state']} with {facts['counts']['pending']} pending"


def _check_enrollment_reads(index: HistoryIndex, ledger: Ledger) -> Iterator[Found]:
    """Checks that a read of an enrollment after an outcome returns its effect, or a newer one."""
    states: dict[tuple[str, str], list[tuple[int, bool, str]]] = {}
    for event in ledger.events:
        after = event.position, bool(event.after["is_active"]), str(event.after["mode"])
        states.setdefault((event.course_id, event.username), []).append(after)
    for read in index.enrollments:
        facts = read.record.facts
        pair = facts["course_id"], facts["user"]
        attempt = index.by_id.get(str(read.record.id))
        if attempt is None or attempt.seen_done is None or attempt.seen_done > read.began:
            continue
        since = _known_since(attempt, pair, ledger)
        possible = [after[1:] for after in states.get(pair, []) if after[0] >= since]
        seen = facts["is_active"], facts["mode"]
        if since and seen not in possible:
            what = f"{pair} was read as {seen} after {attempt.id} was done, not one of {possible}"
            yield Found("I10", what, attempt.key)


def _known_since(attempt: Attempt, pair: tuple[str, str], ledger: Ledger) -> int:
    """Returns the last position at which a submission changed the enrollment; 0: it did not."""
    items = (item for item in ledger.items_of.get(pair, ()) if item.submission_id == attempt.id)
    return max((event.position for item in items for event in item.events), default=0)
