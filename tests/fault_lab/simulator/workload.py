"""Generates requests: few learners, courses, times and keys, so that requests conflict."""

import hashlib
import random
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from api_gateway.auth.caller import Caller
from enrollment.domain.codes import CallerKind, Lane
from tests.fault_lab.simulator.fault_rates import START
from tests.support.in_process_service import ADMIN, SERVER, csv_of, row

ALGEBRA = "course-v1:Uni+Algebra+2026"
BIOLOGY = "course-v1:Uni+Biology+2026"
NOWHERE = "course-v1:Uni+Nowhere+2026"
LEARNERS = ("ada", "bob", "eve")
#: A request for this learner crashes the worker that processes it.
POISON = "poison"
MODES = ("audit", "verified")
KEYS = ("k1", "k2")
#: Stated times: few, so that some are equal; one is in the future.
MOMENTS = (START - timedelta(hours=2), START - timedelta(hours=1), START + timedelta(days=2))


class RequestedChange(NamedTuple):
    """One request as its client means it."""

    user: str
    course_id: str
    is_active: bool = True
    mode: str | None = None
    stated: datetime | None = None

    def __str__(self) -> str:
        verb = "+" if self.is_active else "-"
        mode = f"/{self.mode}" if self.mode else ""
        stated = f"@{self.stated:%d.%H}" if self.stated else ""
        return f"{verb}{self.user}:{self.course_id[14:17]}{mode}{stated}"


@dataclass(eq=False)
class Attempt:
    """One call, and the answer that its client got."""

    label: str
    caller: Caller
    changes: tuple[RequestedChange, ...]
    is_file: bool = False
    key: str | None = None
    lane: Lane | None = None
    is_atomic: bool = False
    #: Positions of sending and answering in the order of what clients see.
    sent_order: int = -1
    answered_order: int = -1
    #: The answer: an id, or that the key is used otherwise; neither if unknown.
    id: UUID | None = None
    is_reuse: bool = False

    @property
    def is_unknown(self) -> bool:
        """Returns whether the client does not know the result."""
        return self.id is None and not self.is_reuse

    @property
    def content(self) -> bytes:
        """Returns the file as CSV."""
        return csv_of(
            row(w.user, w.course_id, is_active=w.is_active, mode=w.mode, requested_at=w.stated)
            for w in self.changes
        )

    @property
    def head(self) -> bytes:
        """Returns the parameters that the fingerprint covers beside the body."""
        return f"{self.is_file} {self.is_atomic} {self.lane}".encode()

    @property
    def fingerprint(self) -> bytes:
        """Returns the fingerprint for the Idempotency-Key."""
        return hashlib.sha256(self.head + self.content).digest()

    def repeat(self, label: str) -> "Attempt":
        """Returns the same call under another label."""
        return Attempt(
            label,
            self.caller,
            self.changes,
            self.is_file,
            self.key,
            self.lane,
            self.is_atomic,
        )

    def __str__(self) -> str:
        kind = "file" if self.is_file else "single"
        key = f" key {self.caller.name}/{self.key}" if self.key else ""
        atomic = " all or nothing" if self.is_atomic else ""
        return f"{self.label} {kind}{atomic}{key} {' '.join(map(str, self.changes))}"


@dataclass(slots=True)
class WorkloadGenerator:
    """Draws the calls of clients."""

    rng: random.Random
    #: No request may be refused because of others.
    granted: bool = False
    #: Whether some requests crash their worker.
    poisonous: bool = False
    #: Most requests concern one enrollment.
    narrow: bool = False
    #: The lanes of files.
    lanes: tuple[Lane | None, ...] = (None,)
    _labels: int = field(default=0)

    def label(self) -> str:
        """Returns a label for a call."""
        self._labels += 1
        return f"c{self._labels}"

    def caller(self) -> Caller:
        """Draws a caller; most may state times."""
        return ADMIN if self.rng.random() < 0.75 else SERVER

    def draw_change(self, caller: Caller) -> RequestedChange:
        """Draws a requested change."""
        rng = self.rng
        is_active = rng.random() < 0.6
        mode = rng.choice(MODES) if rng.random() < 0.4 else None
        course_id = rng.choice((ALGEBRA, BIOLOGY))
        if self.granted:
            mode = mode if is_active else None
        elif rng.random() < 0.05:
            course_id, mode = rng.choice(((NOWHERE, mode), (course_id, "masters")))
        user = POISON if self.poisonous and rng.random() < 0.15 else rng.choice(LEARNERS)
        if self.narrow and rng.random() < 0.7:
            user, course_id = LEARNERS[0], ALGEBRA
        return RequestedChange(user, course_id, is_active, mode, self._stated(caller))

    def _stated(self, caller: Caller) -> datetime | None:
        if self.rng.random() >= 0.35:
            return None
        if self.granted:
            return self.rng.choice(MOMENTS[:2]) if caller.kind is CallerKind.ADMIN else None
        if caller.kind is not CallerKind.ADMIN and self.rng.random() < 0.7:
            return None
        return self.rng.choice((*MOMENTS[:2] * 4, MOMENTS[2]))

    def single(self) -> Attempt:
        """Draws a single request."""
        caller = self.caller()
        return Attempt(self.label(), caller, (self.draw_change(caller),), key=self._key())

    def file(self) -> Attempt:
        """Draws a file of a few rows, often of several batches."""
        rng, caller = self.rng, self.caller()
        number = rng.choice((1, 2, 3, 3, 4, 5))
        return Attempt(
            self.label(),
            caller,
            tuple(self.draw_change(caller) for _ in range(number)),
            is_file=True,
            key=self._key(),
            lane=rng.choice(self.lanes),
            is_atomic=not (self.granted or self.poisonous) and rng.random() < 0.1,
        )

    def _key(self) -> str | None:
        return self.rng.choice(KEYS) if self.rng.random() < 0.4 else None
