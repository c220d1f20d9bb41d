"""Formats everything that is known about one item, from the first request to its events."""

from collections.abc import Iterator
from typing import Any

from schemas.outcomes import dump_outcome
from tests.fault_lab.checker.guarantees import Found
from tests.fault_lab.checker.history_index import HistoryIndex
from tests.fault_lab.checker.ledger import Item, Ledger
from tests.fault_lab.history import Op, Record
from tests.fault_lab.load.client import brief

#: Maximum width of one fact.
_WIDE = 160
#: Reads of one submission that are shown: the first and the last.
_MAX_READS = 6
_POSTS = frozenset({Op.SINGLE, Op.FILE, Op.REUSE})


def timeline(found: Found, index: HistoryIndex, ledger: Ledger) -> Iterator[str]:
    """Yields a line for each fact about a violation."""
    if found.about is None:
        return
    attempt = index.keys.get(found.about) or index.by_id.get(found.about)
    names = {found.about} | ({attempt.key, *attempt.ids} if attempt else set())
    records = {record.number: record for name in names for record in index.about.get(name, ())}
    yield from _records(sorted(records.values()), index.began, found.line)
    for id_ in sorted(names & ledger.submissions.keys()):
        head = ledger.submissions[id_]
        yield f"submission {id_}: received {head.received_at}, published {head.published_at}"
        lines = (
            {found.line} if found.line else {place[1] for place in ledger.items if place[0] == id_}
        )
        for line in sorted(lines)[:3]:
            item = ledger.items.get((id_, line))
            if item is not None:
                yield from _item(item, ledger)


def _records(records: list[Record], began: float, line: int | None) -> Iterator[str]:
    reads = [record for record in records if record.op not in _POSTS]
    left_out = {record.number for record in reads[_MAX_READS // 2 : -_MAX_READS // 2]}
    for record in records:
        if record.number not in left_out:
            facts = {name: _short(name, value, line) for name, value in record.facts.items()}
            text = " ".join(f"{name}={value}" for name, value in facts.items() if value != "")
            status = record.status or ""
            yield (
                f"{record.t - began:9.3f} {record.client} {record.op} {record.phase} "
                f"{record.key or record.id or ''} {status} {text}"
            )


def _short(name: str, value: Any, line: int | None) -> str:
    """Shortens a fact: outcomes to those of the line, changes to their number."""
    if name == "outcomes" and line is not None:
        value = [one for one in value if one[0] == line]
    if name == "changes" and len(value) > 1:
        value = f"{len(value)} of them"
    return str(value)[:_WIDE]


def _item(item: Item, ledger: Ledger) -> Iterator[str]:
    batch, request = item.batch, item.request
    yield (
        f"batch {batch.id}: {batch.requests} requests, lane {batch.lane}, waiting since "
        f"{batch.waiting_since}, announced {batch.announced_at}, repeats {batch.repeats}, "
        f"attempts {batch.attempts}, parked {batch.parked_at}, answered {batch.answered_at}"
    )
    yield f"line {item.line}: {request}, received {item.received_at}, clock {tuple(item.clock)}"
    if item.outcome is not None:
        details = item.outcome.details or ""
        yield f"outcome: {brief(dump_outcome(item.outcome))} {details}"
    for event in item.events:
        yield f"event {event.position}: {event.kind} at {event.at}, {event.before} to {event.after}"
    if request is not None and request.username:
        pair = request.course_id, request.username
        yield f"{pair} stands at {ledger.enrollments.get(pair)}"
