"""Checks I7 and I8: precedence of requests, and order of the change feed."""

from collections.abc import Iterator
from heapq import heappop, heappush
from typing import NamedTuple

from enrollment.domain.codes import NO_EFFECT_CODES, Code, Reason
from enrollment.domain.model import WritePrecedence
from schemas.events import public_event_id
from tests.fault_lab.checker.guarantees import Found
from tests.fault_lab.checker.history_index import Attempt, HistoryIndex, Read
from tests.fault_lab.checker.ledger import Item, Ledger, Pair
from tests.fault_lab.load.client import digest


class _Timed(NamedTuple):
    """A request that states no time, with what its client knows."""

    item: Item
    attempt: Attempt


def latest_wins(index: HistoryIndex, ledger: Ledger) -> Iterator[Found]:
    """I7: of two requests for one enrollment the later one wins.

    A request that was sent after another's 202 ranks higher. In the feed no change of a lower rank
    follows one of a higher rank in the same field. The final state is that of the highest ranks.
    Only a request with a higher one before it is superseded.
    """
    for pair, items in ledger.items_of.items():
        yield from _check_client_order(pair, items, index)
        yield from _check_rank_order(pair, items)
        yield from _check_final_state(pair, items, ledger)
        yield from _check_superseded(pair, items)


def _check_client_order(pair: Pair, items: list[Item], index: HistoryIndex) -> Iterator[Found]:
    timed = [
        _Timed(item, attempt)
        for item in items
        if (attempt := index.by_id.get(item.submission_id))
        and item.request is not None
        and item.request.requested_at is None
    ]
    pending: list[tuple[float, int, _Timed]] = []
    highest: _Timed | None = None
    for number, one in enumerate(sorted(timed, key=lambda one: one.attempt.sent)):
        while pending and pending[0][0] < one.attempt.sent:
            accepted_at = heappop(pending)[2]
            highest = (
                accepted_at if highest is None or _clock(accepted_at) > _clock(highest) else highest
            )
        if highest is not None and _clock(one) < _clock(highest):
            what = (
                f"for {pair} {_name(highest.item)} was accepted before {_name(one.item)} was sent"
            )
            yield Found("I7", f"{what}, and ranks higher", *one.item.place)
        if one.attempt.accepted_at is not None:
            heappush(pending, (one.attempt.accepted_at, number, one))


def _clock(one: _Timed) -> WritePrecedence:
    return one.item.clock


def _name(item: Item) -> str:
    return f"{item.submission_id} line {item.line}"


def _check_rank_order(pair: Pair, items: list[Item]) -> Iterator[Found]:
    """Checks that events that set the same field of an enrollment have increasing ranks."""
    changed = sorted(
        ((event, item) for item in items for event in item.events),
        key=lambda change: change[0].position,
    )
    highest: dict[str, Item] = {}
    for event, item in changed:
        for field in ("is_active", "mode"):
            before = None if event.before is None else event.before[field]
            if event.after[field] == before or (field == "mode" and not _names_mode(item)):
                continue
            last = highest.setdefault(field, item)
            if item.clock < last.clock:
                what = f"{_name(item)} set {field} of {pair} after {_name(last)}"
                yield Found("I7", f"{what}, which ranks higher", *item.place)
            else:
                highest[field] = item


def _names_mode(item: Item) -> bool:
    return item.request is not None and item.request.mode is not None


def _check_final_state(pair: Pair, items: list[Item], ledger: Ledger) -> Iterator[Found]:
    """Checks that the stored enrollment is the one that the highest applied ranks ask for."""
    applied = [item for item in items if _is_applied(item)]
    stored = ledger.enrollments.get(pair)
    if not applied or stored is None:
        if applied:
            what = f"{pair} has no enrollment, though {_name(applied[0])} was applied"
            yield Found("I7", what, *applied[0].place)
        elif stored is not None and _is_after_mark(items, ledger):
            what = f"{pair} has an enrollment, though no request for it was applied"
            yield Found("I7", what, *items[0].place)
        return
    highest = max(applied, key=lambda item: item.clock)
    request = highest.request
    if request is None or not _is_after_mark(items, ledger):
        return
    if (stored.is_active, stored.activity_precedence) != (request.is_active, highest.clock):
        what = f"{pair} is_active={stored.is_active} by {stored.activity_precedence}"
        expected = f"{_name(highest)} is the highest: {request.is_active} by {highest.clock}"
        yield Found("I7", f"{what}, but {expected}", *highest.place)
    named = max(filter(_names_mode, applied), key=lambda item: item.clock, default=None)
    if named is None or named.request is None:
        return
    if (stored.mode, stored.mode_precedence) != (named.request.mode, named.clock):
        what = f"{pair} has the mode {stored.mode} by {stored.mode_precedence}"
        expected = f"{_name(named)} is the highest: {named.request.mode} by {named.clock}"
        yield Found("I7", f"{what}, but {expected}", *named.place)


def _is_applied(item: Item) -> bool:
    """Returns whether a request was decided, and neither refused nor skipped."""
    outcome = item.outcome
    return (
        outcome is not None
        and outcome.code not in NO_EFFECT_CODES
        and outcome.reason is not Reason.KEPT_BY_OTHER_RECORD
    )


def _is_after_mark(items: list[Item], ledger: Ledger) -> bool:
    """Returns whether all changes of the enrollment are after the mark."""
    if ledger.mark.batch_id == 0:
        return True
    return any(event.before is None for item in items for event in item.events)


def _check_superseded(pair: Pair, items: list[Item]) -> Iterator[Found]:
    applied = [item for item in items if _is_applied(item)]
    for item in applied:
        if item.outcome is None or item.outcome.code is not Code.SUPERSEDED:
            continue
        if not any(other.clock > item.clock for other in applied):
            what = f"{_name(item)} is superseded, though it has the highest rank for {pair}"
            yield Found("I7", what, *item.place)


def feed_complete(index: HistoryIndex, ledger: Ledger) -> Iterator[Found]:
    """I8: positions have no gaps, and every reader gets exactly the events after its cursor."""
    expected = ledger.mark.position
    for event in ledger.events:
        expected += 1
        if event.position != expected:
            what = f"position {expected} of the feed is {event.position}"
            yield Found("I8", what, str(event.submission_id), event.line)
            expected = event.position
    if expected != ledger.head:
        yield Found("I8", f"the feed ends at {expected}, and its head is {ledger.head}")
    ids = {event.position: str(public_event_id(event)) for event in ledger.events}
    if len(set(ids.values())) != len(ids):
        yield Found("I8", "two events have one id")
    for read in index.feed:
        yield from _check_page(read, ledger, ids)
    yield from _check_no_gap(index.feed)


def _check_page(read: Read, ledger: Ledger, ids: dict[int, str]) -> Iterator[Found]:
    facts = read.record.facts
    since, after = facts["since"], facts["next"]
    page = f"line {read.record.number}: the page after {since}"
    wanted = [[since + 1, after]] if after > since else []
    if facts["positions"] != wanted:
        yield Found("I8", f"{page} has {facts['positions']} and goes on at {after}")
    elif after > ledger.head:
        yield Found("I8", f"{page} goes on at {after}, after the head {ledger.head}")
    elif since >= ledger.mark.position:
        stored = digest(ids.get(position, "") for position in range(since + 1, after + 1))
        if stored != facts["digest"]:
            yield Found("I8", f"{page} up to {after} had other events than are stored")


def _check_no_gap(reads: list[Read]) -> Iterator[Found]:
    """Checks that no reader gets an empty page before a position that was read earlier."""
    by_end = sorted(reads, key=lambda read: read.ended)
    furthest = ended = 0
    for read in sorted(reads, key=lambda read: read.began):
        while ended < len(by_end) and by_end[ended].ended < read.began:
            furthest = max(furthest, by_end[ended].record.facts["next"])
            ended += 1
        facts = read.record.facts
        if facts["next"] == facts["since"] < furthest:
            what = f"line {read.record.number}: the feed ends at {facts['since']}"
            yield Found("I8", f"{what}, and {furthest} was read before")


def read_to_the_end(index: HistoryIndex, ledger: Ledger) -> bool:
    """Returns whether some reader got an empty page at the head."""
    places = ((read.record.facts["since"], read.record.facts["next"]) for read in index.feed)
    return any(since == after == ledger.head for since, after in places)
