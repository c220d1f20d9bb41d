"""A client that records a correct history of the service in one process, and ways to falsify it."""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from typing import Any
from uuid import UUID

from sqlalchemy import update

from enrollment.storage.tables import BatchRow
from intake_store.group_store import SingleRequest
from schemas.events import public_event_id
from schemas.outcomes import decode_outcomes, dump_outcome, encode_outcomes
from tests.fault_lab.checker.check import CheckResult, Verdict, check
from tests.fault_lab.history import Op, Phase, Record
from tests.fault_lab.load.client import RequestedChange, brief, csv_of, digest, spans
from tests.support.in_process_service import ADMIN, World, request

OPEN = "course-v1:Uni+Open+2026"
SCARCE = "course-v1:Uni+Scarce+2026"
SEATS = 2


@dataclass
class ScriptedHistory:
    """The service in one process, and the history that a client of it recorded."""

    world: World
    records: list[Record] = field(default_factory=list)
    keys: Iterator[int] = field(default_factory=lambda: count(1))

    def note(self, op: Op, phase: Phase, **facts: Any) -> None:
        named = {name: facts.pop(name, None) for name in ("key", "status", "id")}
        self.records.append(
            Record(len(self.records) + 1, time.time(), "client", op, phase, **named, facts=facts)
        )

    def course(self, course_id: str, capacity: int | None = None) -> None:
        facts = {"course_id": course_id, "capacity": capacity, "is_plain": True}
        self.note(Op.COURSE, Phase.INVOKE, **facts)
        self.world.course(course_id, ["audit", "verified"], capacity=capacity)
        self.note(Op.COURSE, Phase.OK, status=200, **facts)

    def single(
        self, user: str, course_id: str = OPEN, *, key: str | None = None, **members: Any
    ) -> str:
        key = key or f"key{next(self.keys)}"
        change = RequestedChange(user, course_id, **members)
        facts = {"changes": [change], "poison": False, "attempt": 1}
        self.note(Op.SINGLE, Phase.INVOKE, key=key, **facts)
        parsed = request(user, course_id, **members)
        stored = self.world.take_in(SingleRequest(ADMIN, parsed, 0.0, None, key, b"same"))
        (receipt,) = stored.results
        return self.accept(Op.SINGLE, key, str(receipt.submission_id))

    def file(self, *changes: RequestedChange) -> str:
        key = f"key{next(self.keys)}"
        facts = {"changes": list(changes), "poison": False, "attempt": 1}
        self.note(Op.FILE, Phase.INVOKE, key=key, **facts)
        return self.accept(Op.FILE, key, str(self.world.send(csv_of(changes), key=key)))

    def accept(self, op: Op, key: str, id_: str) -> str:
        facts = {"id": id_, "replayed": False, "seconds": 0.01}
        self.note(op, Phase.OK, key=key, status=202, **facts)
        return id_

    def work(self) -> None:
        self.world.work()

    def read_submission(self, id_: str) -> None:
        """Reads the status and the outcomes so far."""
        began = time.time()
        head = self.world.submission(UUID(id_))
        answered = self.world.outcomes(head.id)
        pending = head.total - len(answered)
        counts = {"pending": pending, **Counter(one.code.value for one in answered)}
        outcomes = [brief(dump_outcome(one)) for one in answered]
        facts = {"state": "queued" if pending else "done", "counts": counts, "outcomes": outcomes}
        self.note(Op.STATUS, Phase.OK, id=id_, status=200, began=began, **facts)

    def read_enrollment(self, id_: str, user: str, course_id: str = OPEN) -> None:
        stored = self.world.standing(user, course_id)
        facts = {"is_active": stored.is_active, "mode": stored.mode}
        named = {"user": user, "course_id": course_id}
        self.note(Op.ENROLLMENT, Phase.OK, id=id_, began=time.time(), **named, **facts)

    def feed(self, since: int = 0, limit: int = 1_000) -> int:
        began = time.time()
        page = self.world.events()[since : since + limit]
        after = page[-1].position if page else since
        facts = {
            "positions": spans(event.position for event in page),
            "digest": digest(str(public_event_id(event)) for event in page),
        }
        self.note(Op.FEED, Phase.OK, status=200, began=began, since=since, next=after, **facts)
        return after

    def end(self) -> None:
        """Processes everything and reads it once more."""
        self.note(Op.FAULT, Phase.HEAL)
        self.work()
        for record in list(self.records):
            if record.phase is Phase.OK and record.op in {Op.SINGLE, Op.FILE}:
                self.read_submission(record.id)
        self.feed(self.feed())

    def change(self, which: Callable[[Record], bool], **to: Any) -> None:
        """Changes the last matching record."""
        place = max(place for place, record in enumerate(self.records) if which(record))
        record = self.records[place]
        facts = {**record.facts, **to.pop("facts", {})}
        self.records[place] = record._replace(facts=facts, **to)

    def check(self, **how: Any) -> Verdict:
        return check(self.records, self.world.sessions, **how)


def record_everything(play: ScriptedHistory) -> dict[str, str]:
    """Records a history with every kind of operation; returns ids by name."""
    play.course(OPEN)
    play.course(SCARCE, SEATS)
    ids = {"first": play.single("ada")}
    ids["second"] = play.single("ada", mode="verified")
    play.read_submission(ids["first"])
    stated = datetime(2020, 1, 1, tzinfo=UTC).isoformat()
    ids["stale"] = play.file(
        RequestedChange("ada", OPEN, is_active=False, requested_at=stated),
        RequestedChange("eve", OPEN),
    )
    play.work()
    play.read_submission(ids["first"])
    play.read_enrollment(ids["second"], "ada")
    play.feed(limit=2)
    for number in range(SEATS + 1):
        ids[f"scarce{number}"] = play.single(f"learner{number}", SCARCE)
    play.work()
    ids["gone"] = play.single("ada", is_active=False)
    play.end()
    return ids


def found(verdict: Verdict, invariant: str, *words: str) -> bool:
    """Returns whether a violation of this invariant contains all words."""
    assert verdict.result is CheckResult.VIOLATIONS, verdict.text()
    return any(
        one.invariant == invariant and all(word in one.what for word in words)
        for one in verdict.violations
    )


def change_row(play: ScriptedHistory, statement: Any) -> None:
    with play.world.sessions.begin() as session:
        assert session.execute(statement).rowcount == 1


def change_outcome(play: ScriptedHistory, id_: str, **to: Any) -> None:
    """Changes the stored outcome of a single request."""
    head = play.world.submission(UUID(id_))
    with play.world.sessions.begin() as session:
        row = session.get(BatchRow, head.batch_id)
        outcomes = decode_outcomes(row.outcomes)
        outcomes[head.position] = outcomes[head.position]._replace(**to)
        row.outcomes = encode_outcomes(outcomes)


def of(op: Op, phase: Phase = Phase.OK, **facts: Any) -> Callable[[Record], bool]:
    """Returns a predicate for records."""

    def is_such(record: Record) -> bool:
        values = {**record.facts, "id": record.id, "key": record.key}
        same = all(values.get(name) == value for name, value in facts.items())
        return record.op is op and record.phase is phase and same

    return is_such


def batch_ids(play: ScriptedHistory, *ids: str) -> list[int]:
    """Returns the batches of single requests, and lets each be processed alone."""
    found = [play.world.submission(UUID(id_)).batch_id for id_ in ids]
    with play.world.sessions.begin() as session:
        session.execute(update(BatchRow).where(BatchRow.id.in_(found)).values(alone=True))
    return found
