"""Generates the requests of a load from its seed."""

import random
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from tests.fault_lab.load.client import RequestedChange

#: Start of the stated times: in the past even for a clock that is wrong.
STATED_FROM = datetime(2020, 1, 1, tzinfo=UTC)
#: Number of stated times: so few that some are equal.
STATED_MINUTES = 1_000


@dataclass(frozen=True, kw_only=True)
class Mix:
    """Rates and sizes of a load."""

    #: Single requests a second, of all clients together.
    singles: float = 150.0
    single_clients: int = 10
    #: Files a second, of all clients together; each client sends one at a time.
    files: float = 3.0
    file_clients: int = 2
    rows: tuple[int, int] = (200, 1000)
    #: Learners whose requests conflict.
    learners: int = 40
    courses: int = 3
    #: Courses with so few seats that most requests are refused.
    scarce_courses: int = 2
    seats: int = 5
    #: Fraction of singles: repeated after an answer, sent with a used key and another body.
    repeats: float = 0.03
    reuses: float = 0.02
    #: Status reads a second, of all pollers together.
    polls: float = 60.0
    pollers: int = 1
    feed_readers: int = 1
    #: Seconds after which a result counts as unknown.
    timeout: float = 10.0


class WorkloadGenerator:
    """Draws requests from a seed."""

    def __init__(self, mix: Mix, run: str, chance: random.Random) -> None:
        self._mix = mix
        self._run = run
        self._random = chance
        self.courses = [f"course-v1:{run}+Open{n}+2026" for n in range(mix.courses)]
        self.scarce = [f"course-v1:{run}+Scarce{n}+2026" for n in range(mix.scarce_courses)]

    def single(self) -> RequestedChange:
        """Draws a request for one of the learners whose requests conflict."""
        pick = self._random.random()
        user = f"{self._run}-{self._random.randrange(self._mix.learners)}"
        if self.scarce and pick < 0.2:
            is_active = None if self._random.random() < 0.65 else False
            return RequestedChange(user, self._random.choice(self.scarce), is_active)
        course = self._random.choice(self.courses)
        if pick < 0.45:
            return RequestedChange(user, course, is_active=False)
        if pick < 0.75:
            return RequestedChange(user, course, mode=self._random.choice(["audit", "verified"]))
        return RequestedChange(user, course, is_active=self._random.choice([None, True]))

    def file(self, name: str) -> list[RequestedChange]:
        """Draws a file: mostly its own learners, some twice, some that conflict with singles."""
        number = self._random.randint(*self._mix.rows)
        states_times = self._random.random() < 0.4
        return [self._row(name, number, states_times=states_times) for _ in range(number)]

    def _row(self, name: str, rows: int, *, states_times: bool) -> RequestedChange:
        at = self._stated() if states_times else None
        if self._random.random() < 0.15:
            return self.single()._replace(requested_at=at)
        user = f"{name}-{self._random.randrange(max(1, rows * 3 // 4))}"
        course = self._random.choice(self.courses)
        if self._random.random() < 0.2:
            return RequestedChange(user, course, is_active=False, requested_at=at)
        mode = self._random.choice([None, None, "audit", "verified"])
        return RequestedChange(user, course, mode=mode, requested_at=at)

    def _stated(self) -> str:
        after = timedelta(minutes=self._random.randrange(STATED_MINUTES))
        return (STATED_FROM + after).isoformat()
