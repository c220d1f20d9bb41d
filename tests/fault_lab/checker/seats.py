"""Checks I6: seats are never overbooked, and never refused while some are free."""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import accumulate
from typing import NamedTuple

from enrollment.domain.codes import Reason
from enrollment.domain.events import RecordedEvent
from tests.fault_lab.checker.guarantees import Found
from tests.fault_lab.checker.history_index import Capacity, HistoryIndex, max_capacity
from tests.fault_lab.checker.ledger import Item, Ledger

#: Tolerance for differences between the clocks of one machine, in seconds.
SLACK = 1.0
_EVER = float("inf")


class _Seats(NamedTuple):
    """Seats taken in one course after each of its events."""

    positions: list[int]
    taken: list[int]

    def after(self, position: int) -> int:
        """Returns the seats taken after the event at a position."""
        place = bisect_right(self.positions, position)
        return self.taken[place - 1] if place else 0

    def most(self, first: int, last: int) -> int:
        """Returns the most seats taken between two positions."""
        inside = slice(bisect_right(self.positions, first), bisect_right(self.positions, last))
        return max([self.after(first), *self.taken[inside]])


class _MaxPosition(NamedTuple):
    """The greatest position up to each of some times."""

    moments: list[float]
    positions: list[int]

    def at(self, moment: float) -> int:
        """Returns the greatest position up to this time; 0 if there is none."""
        place = bisect_right(self.moments, moment)
        return self.positions[place - 1] if place else 0


def _max_position(places: Iterable[tuple[float, int]]) -> _MaxPosition:
    ordered = sorted(places)
    positions = accumulate((position for _, position in ordered), max)
    return _MaxPosition([moment for moment, _ in ordered], list(positions))


def seats_respected(index: HistoryIndex, ledger: Ledger, *, clocks_agree: bool) -> Iterator[Found]:
    """I6, for courses that were created after the mark."""
    courses = [course_id for course_id in index.courses if index.capacities(course_id)]
    seats = {course_id: _seats_of(course_id, ledger) for course_id in courses}
    for course_id in courses:
        yield from _check_capacity(course_id, index, ledger, clocks_agree=clocks_agree)
    refused = defaultdict(list)
    for item in ledger.items.values():
        if _is_course_full(item) and item.request and item.request.course_id in seats:
            refused[item.batch.answered_at].append(item)
    together = _transactions(ledger) if refused else {}
    refusals = _Refusals(index, ledger, seats, clocks_agree=clocks_agree)
    for moment, items in refused.items():
        yield from refusals.of_one_transaction(together[moment], items)


def _is_course_full(item: Item) -> bool:
    return item.outcome is not None and item.outcome.reason is Reason.COURSE_FULL


def _change(event: RecordedEvent) -> int:
    was = event.before is not None and event.before["is_active"]
    return int(event.after["is_active"]) - int(was)


def _seats_of(course_id: str, ledger: Ledger) -> _Seats:
    events = [event for event in ledger.events if event.course_id == course_id]
    return _Seats([event.position for event in events], list(accumulate(map(_change, events))))


def _possible(capacities: list[Capacity], first: float, last: float) -> list[Capacity]:
    """Returns the capacities that may have been in force in a period."""
    return [one for one in capacities if one.since <= last + SLACK and one.until >= first - SLACK]


def _check_capacity(
    course_id: str, index: HistoryIndex, ledger: Ledger, *, clocks_agree: bool
) -> Iterator[Found]:
    capacities = index.capacities(course_id)
    taken = 0
    for event in ledger.events:
        if event.course_id != course_id:
            continue
        change = _change(event)
        taken += change
        began = event.at.timestamp() if clocks_agree else -_EVER
        most = max_capacity(_possible(capacities, began, _EVER))
        if taken < 0:
            what = f"{course_id} has {taken} seats taken at {event.position}"
            yield Found("I6", what, str(event.submission_id), event.line)
        elif change > 0 and most is not None and taken > most:
            what = f"{course_id} has {taken} of {most} seats taken at {event.position}"
            yield Found("I6", what, str(event.submission_id), event.line)


def _transactions(ledger: Ledger) -> dict[datetime, list[Item]]:
    """Returns requests by the transaction that processed them, in the order of processing."""
    together: dict[datetime, list[Item]] = defaultdict(list)

    def in_turn(id_: int) -> tuple[bool, datetime | None, int]:
        since = ledger.batches[id_].waiting_since
        return since is None, since, id_  # parts of incomplete uploads never wait

    for batch_id in sorted(ledger.items_of_batch, key=in_turn):
        items = ledger.items_of_batch[batch_id]
        together[items[0].batch.answered_at] += items
    return together


class _Refusals:
    """Checks the requests that were refused because the course was full."""

    def __init__(
        self, index: HistoryIndex, ledger: Ledger, seats: dict[str, _Seats], *, clocks_agree: bool
    ) -> None:
        self._index = index
        self._ledger = ledger
        self._seats = seats
        self._clocks_agree = clocks_agree
        #: The feed position that some reader had reached.
        self._known = _max_position((read.ended, read.record.facts["next"]) for read in index.feed)
        #: The last feed position possible at a time, from the times of the events.
        self._began = _max_position((one.at.timestamp(), one.position) for one in ledger.events)

    def of_one_transaction(self, together: list[Item], refused: list[Item]) -> Iterator[Found]:
        """Checks at the transaction's position in the feed; without one, over the possible range."""
        spans = self._ledger.spans
        firsts = [spans[item.batch.id] for item in together if item.batch.id in spans]
        if not firsts:
            for item in refused:
                yield from self._check_range(item)
            return
        begin = min(firsts) - 1
        change: dict[str, int] = defaultdict(int)
        for item in together:
            for event in item.events:
                change[event.course_id] += _change(event)
            if _is_course_full(item) and item.request and item.request.course_id in self._seats:
                course_id = item.request.course_id
                taken = self._seats[course_id].after(begin) + change[course_id]
                yield from self._check_full(item, course_id, taken)

    def _check_range(self, item: Item) -> Iterator[Found]:
        """Checks over the positions between the request and its outcome."""
        course_id = item.request.course_id if item.request else ""
        attempt = self._index.by_id.get(item.submission_id)
        first, last = self._ledger.mark.position, self._ledger.head
        if attempt is not None:
            first = max(first, self._known.at(attempt.sent))
            if attempt.seen_done is not None and self._clocks_agree:
                last = self._began.at(attempt.seen_done + SLACK)
        taken = self._seats[course_id].most(first, max(first, last))
        yield from self._check_full(item, course_id, taken)

    def _check_full(self, item: Item, course_id: str, taken: int) -> Iterator[Found]:
        details = (item.outcome and item.outcome.details) or {}
        stated = int(str(details.get("capacity", 0)))
        first = item.batch.answered_at.timestamp() if self._clocks_agree else -_EVER
        possible = _possible(self._index.capacities(course_id), first, _EVER)
        if stated not in {one.seats for one in possible}:
            what = f"line {item.line} of {item.submission_id} was refused for {stated} seats"
            yield Found("I6", f"{what}, which {course_id} did not have", *item.place)
        elif taken < stated:
            what = f"line {item.line} of {item.submission_id} was refused, though {taken}"
            yield Found("I6", f"{what} of {stated} seats of {course_id} were taken", *item.place)
