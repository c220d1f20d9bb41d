"""Checks I1 to I4 and I10: accepted requests are stored, get one outcome, and can be read."""

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any, NamedTuple

from enrollment.domain.codes import Code, Reason
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


def durable(story: HistoryIndex, ledger: Ledger) -> Iterator[Found]:
    """I1: every submission that was answered 202 is stored completely."""
    for told in story.accepted():
        for id_ in told.ids:
            head = ledger.submissions.get(id_)
            if head is None:
                yield Found("I1", f"{id_} was accepted and is lost", told.key)
            elif head.published_at is None:
                yield Found("I1", f"{id_} was accepted and never published", told.key)
            elif head.total != len(told.wishes):
                what = f"{id_} has {head.total} requests of {len(told.wishes)}"
                yield Found("I1", what, told.key)
            else:
                yield from _kept_lines(told, id_, ledger)


def _kept_lines(told: Attempt, id_: str, ledger: Ledger) -> Iterator[Found]:
    for line, _ in told.wishes_by_line():
        if (id_, line) not in ledger.items:
            yield Found("I1", f"line {line} of {id_} is lost", told.key, line)


def answered(
    story: HistoryIndex, ledger: Ledger, *, within: float, clocks_agree: bool
) -> Iterator[Found]:
    """I2: each accepted request has one outcome, in time, and it never changes."""
    latest = None if story.healed is None or not clocks_agree else story.healed + within
    for id_, what in ledger.odd:
        yield Found("I2", what, id_)
    for told in story.accepted():
        for line, wish in told.wishes_by_line():
            item = ledger.items.get((told.id or "", line))
            if item is not None:
                yield from _answered_once(told, item, latest)
                yield from _answered_well(story, told, item, wish)
    yield from _answers_seen(story, ledger)


def _answered_once(told: Attempt, item: Item, latest: float | None) -> Iterator[Found]:
    batch, line = item.batch, item.line
    if item.outcome is None:
        state = "parked" if batch.parked_at else "waiting"
        yield Found("I2", f"line {line} of {told.id} has no outcome ({state})", told.key, line)
    elif item.outcome.line != line:
        what = f"line {line} of {told.id} has the outcome of line {item.outcome.line}"
        yield Found("I2", what, told.key, line)
    elif latest is not None and batch.answered_at.timestamp() > latest:
        late = batch.answered_at.timestamp() - latest
        what = f"line {line} of {told.id} was answered {late:.1f} s later than promised"
        yield Found("I2", what, told.key, line)


def _answered_well(
    story: HistoryIndex, told: Attempt, item: Item, wish: RequestedChange
) -> Iterator[Found]:
    """I2: only poison requests come to internal_error, and none is invalid or cancelled."""
    outcome = item.outcome
    if outcome is None or (told.poison and POISON in wish.user):
        return
    is_refused = outcome.code is Code.REFUSED and outcome.reason is not Reason.COURSE_FULL
    if outcome.code in {Code.INVALID, Code.CANCELLED} or (
        is_refused and story.is_plain(wish.course_id)
    ):
        what = f"line {item.line} of {told.id} is {outcome.code}, {outcome.reason}"
        yield Found("I2", f"{what}, though nothing is wrong with it", told.key, item.line)


def _answers_seen(story: HistoryIndex, ledger: Ledger) -> Iterator[Found]:
    for reads in (story.statuses, story.outcomes):
        for id_, its_reads in reads.items():
            for read in its_reads:
                for seen in read.record.facts.get("outcomes", ()):
                    yield from _answer_kept(id_, seen, ledger)


def _answer_kept(id_: str, seen: list[Any], ledger: Ledger) -> Iterator[Found]:
    item = ledger.items.get((id_, seen[0]))
    if item is None or item.outcome is None:
        what = f"line {seen[0]} of {id_} was read as {seen[1]} and has no outcome now"
        yield Found("I2", what, id_, seen[0])
    elif (now := brief(dump_outcome(item.outcome))) != seen:
        yield Found("I2", f"line {seen[0]} of {id_} was {seen} and is {now} now", id_, seen[0])


def no_phantoms(story: HistoryIndex, ledger: Ledger) -> Iterator[Found]:
    """I3: every stored request was sent, with the same content."""
    keys = {id_: key for key, id_ in ledger.keys.items()}
    for id_, head in ledger.submissions.items():
        told = story.by_id.get(id_) or story.keys.get(keys.get(id_, ""))
        if told is None and head.published_at is None:
            continue  # an incomplete upload: no reader sees it, and it is purged
        if told is None:
            yield Found("I3", f"{id_} is kept, and nobody asked for it", id_)
        elif head.published_at is not None:
            yield from _as_asked(told, id_, ledger)
    for key, told in story.keys.items():
        if key in ledger.keys and not told.ids and not told.unknown:
            what = f"{ledger.keys[key]} is kept, though it was refused with {told.refused}"
            yield Found("I3", what, key)
    yield from _events_and_outcomes(ledger)


def _as_asked(told: Attempt, id_: str, ledger: Ledger) -> Iterator[Found]:
    for line, wish in told.wishes_by_line():
        item = ledger.items.get((id_, line))
        if item is None:
            continue
        kept = _wished(item)
        if kept != _plain(wish):
            what = f"line {line} of {id_} asks for {kept}, and {_plain(wish)} was sent"
            yield Found("I3", what, told.key, line)


def _plain(wish: RequestedChange) -> tuple[object, ...]:
    stated = wish.requested_at and datetime.fromisoformat(wish.requested_at)
    is_active = True if wish.is_active is None else wish.is_active
    return wish.user, wish.course_id, is_active, wish.mode, stated


def _wished(item: Item) -> tuple[object, ...] | None:
    asked = item.request
    if asked is None:
        return None
    return asked.username, asked.course_id, asked.is_active, asked.mode, asked.requested_at


def _events_and_outcomes(ledger: Ledger) -> Iterator[Found]:
    for event in ledger.events:
        place = (str(event.submission_id), event.line)
        if place not in ledger.items:
            what = f"event {event.position} is of line {place[1]} of {place[0]}, which is not kept"
            yield Found("I3", what, *place)
    for item in ledger.items.values():
        yield from _event_of(item)


def _event_of(item: Item) -> Iterator[Found]:
    code = item.outcome and item.outcome.code
    kind = CHANGE_KIND_BY_CODE.get(code) if code else None
    kinds = [event.kind for event in item.events]
    if kinds != ([] if kind is None else [kind]):
        told = ", ".join(kinds) or "no event"
        what = f"line {item.line} of {item.submission_id} is {code} and has {told}"
        yield Found("I3", what, *item.place)
    for event in item.events:
        asked = item.request
        named = None if asked is None else (asked.username, asked.course_id)
        if named != (event.username, event.course_id):
            what = f"event {event.position} is about somebody else than line {item.line}"
            yield Found("I3", what, *item.place)


def idempotent(story: HistoryIndex, ledger: Ledger) -> Iterator[Found]:
    """I4: a key belongs to one submission and one body, permanently."""
    for key, told in story.keys.items():
        if len(told.ids) > 1:
            yield Found("I4", f"the key {key} stands for {', '.join(told.ids)}", key)
        kept = ledger.keys.get(key)
        if told.ids and kept is not None and kept not in told.ids:
            yield Found("I4", f"the key {key} stands for {told.id}, but {kept} is kept", key)
        if told.ids and kept is None:
            yield Found("I4", f"the key {key} of {told.id} is forgotten", key)
        if told.ids and told.refused:
            what = f"the key {key} was refused with {told.refused} and stands for {told.id}"
            yield Found("I4", what, key)
    for record in story.reuses:
        if record.status != _KEY_REUSED:
            what = f"the key {record.key} with another body was answered {record.status}"
            yield Found("I4", what, record.key)


def read_rightly(story: HistoryIndex, ledger: Ledger) -> Iterator[Found]:
    """I10: a read after a 202 finds the submission, and its state never goes back."""
    for reads in (story.statuses, story.outcomes):
        for id_, its_reads in reads.items():
            for read in its_reads:
                if read.record.phase is Phase.FAIL:
                    what = f"{id_} was accepted, and looking at it was answered"
                    yield Found("I10", f"{what} {read.record.status}", id_)
    for id_, its_reads in story.statuses.items():
        yield from _only_forward(id_, its_reads)
    yield from _enrollments_seen(story, ledger)


def _only_forward(id_: str, reads: Iterable[Read]) -> Iterator[Found]:
    known = [read for read in reads if read.record.phase is Phase.OK]
    by_end = sorted(known, key=lambda read: read.ended)
    seen: dict[str, Any] | None = None
    ended = 0
    for read in sorted(known, key=lambda read: read.began):
        while ended < len(by_end) and by_end[ended].ended < read.began:
            seen = _further(seen, dict(by_end[ended].record.facts))
            ended += 1
        now = read.record.facts
        if seen is None:
            continue
        if _far(now) < _far(seen):
            what = f"{id_} was {_told(seen)} and then {_told(now)}"
            yield Found("I10", what, id_)
        elif _far(now)[0] == _far(seen)[0] == _STATES["done"] and now["counts"] != seen["counts"]:
            yield Found("I10", f"{id_} counted {seen['counts']}, then {now['counts']}", id_)


def _further(one: dict[str, Any] | None, other: dict[str, Any]) -> dict[str, Any]:
    return other if one is None or _far(other) > _far(one) else one


def _far(facts: Any) -> tuple[int, int]:
    return _STATES[facts["state"]], -facts["counts"]["pending"]


def _told(facts: Any) -> str:
    return f"{facts['state']} with {facts['counts']['pending']} pending"


def _enrollments_seen(story: HistoryIndex, ledger: Ledger) -> Iterator[Found]:
    """Checks that a read of an enrollment after an outcome returns its effect, or a newer one."""
    states: dict[tuple[str, str], list[tuple[int, bool, str]]] = {}
    for event in ledger.events:
        after = event.position, bool(event.after["is_active"]), str(event.after["mode"])
        states.setdefault((event.course_id, event.username), []).append(after)
    for read in story.enrollments:
        facts = read.record.facts
        pair = facts["course_id"], facts["user"]
        told = story.by_id.get(str(read.record.id))
        if told is None or told.seen_done is None or told.seen_done > read.began:
            continue
        since = _known_since(told, pair, ledger)
        possible = [after[1:] for after in states.get(pair, []) if after[0] >= since]
        seen = facts["is_active"], facts["mode"]
        if since and seen not in possible:
            what = f"{pair} was read as {seen} after {told.id} was done, not one of {possible}"
            yield Found("I10", what, told.key)


def _known_since(told: Attempt, pair: tuple[str, str], ledger: Ledger) -> int:
    """Returns the last position at which a submission changed the enrollment; 0: it did not."""
    items = (item for item in ledger.items_of.get(pair, ()) if item.submission_id == told.id)
    return max((event.position for item in items for event in item.events), default=0)
