"""Places in the code where a test of faults can make something go wrong; off in production.

``ENROLL_FAILPOINTS`` names them: ``POINT=ACTION[:SECONDS][%PERCENT][*TIMES][@PATTERN]``,
parted by ``;``. ``work.before_commit=crash%5;work.judging=raise@poison`` kills the process at
one commit of twenty, and raises where a username has ``poison`` in it.
"""

import os
import random
import re
import signal
import threading
import time
from collections.abc import Iterable
from enum import StrEnum
from typing import NamedTuple

import structlog

log = structlog.get_logger()


class Point(StrEnum):
    """Where something can be made to happen."""

    #: S1: a single or a part of a file is written and not committed.
    INTAKE_BEFORE_COMMIT = "intake.before_commit"
    #: S2: it is committed, and the caller has not heard 202.
    INTAKE_COMMITTED = "intake.committed"
    #: S3: the queue is about to be told.
    RING_BEFORE = "ring.before"
    #: S4: the queue was told.
    RING_SENT = "ring.sent"
    #: S5: a worker has the message and has not begun.
    TASK_POPPED = "task.popped"
    #: Each request, about its username, as it is read in a worker.
    WORK_JUDGING = "work.judging"
    #: S6: everything is written and not committed.
    WORK_BEFORE_COMMIT = "work.before_commit"
    #: S7: it is committed, and the message is not acknowledged.
    WORK_COMMITTED = "work.committed"
    #: S8: what was forgotten is read and counts as announced, and is not announced.
    SWEEP_READ = "sweep.read"
    #: S9: one of them was announced.
    SWEEP_ANNOUNCED = "sweep.announced"


class Action(StrEnum):
    """What happens there."""

    CRASH = "crash"
    SLEEP = "sleep"
    RAISE = "raise"
    #: What is done there is done twice.
    DUPLICATE = "duplicate"


#: Where something is done that can be done twice.
_REPEATABLE = frozenset({Point.RING_SENT, Point.WORK_COMMITTED, Point.SWEEP_ANNOUNCED})


class FailPointReached(Exception):
    """Raised on purpose, by a fail point that was armed to."""


class ArmedAction(NamedTuple):
    """What is to happen at a point, how often, and about whom."""

    point: Point
    action: Action
    seconds: float = 0.0
    percent: float = 100.0
    #: How often at most in this process; none: always.
    times: int | None = None
    about: str = ""


_SYNTAX = re.compile(
    r"(?P<point>[a-z_.]+)=(?P<action>[a-z]+)(?::(?P<seconds>[0-9.]+))?"
    r"(?:%(?P<percent>[0-9.]+))?(?:\*(?P<times>[0-9]+))?(?:@(?P<about>.+))?"
)


def parse(text: str) -> tuple[ArmedAction, ...]:
    """The traps that a setting names. Raises ValueError that says what is wrong with it."""
    return tuple(_parse_one(part.strip()) for part in text.split(";") if part.strip())


def _parse_one(text: str) -> ArmedAction:
    found = _SYNTAX.fullmatch(text)
    if found is None:
        message = (
            f"ENROLL_FAILPOINTS: {text!r} is not POINT=ACTION[:SECONDS][%PERCENT][*TIMES][@PATTERN]"
        )
        raise ValueError(message)
    times = found["times"]
    try:
        trap = ArmedAction(
            Point(found["point"]),
            Action(found["action"]),
            float(found["seconds"] or 0),
            float(found["percent"] or 100),
            None if times is None else int(times),
            found["about"] or "",
        )
        re.compile(trap.about)
    except (ValueError, re.error) as error:
        message = f"ENROLL_FAILPOINTS: {text!r}: {error}"
        raise ValueError(message) from error
    if trap.action is Action.DUPLICATE and trap.point not in _REPEATABLE:
        known = ", ".join(sorted(_REPEATABLE))
        message = f"ENROLL_FAILPOINTS: {text!r}: only {known} can be done twice"
        raise ValueError(message)
    return trap


class _ArmedActions:
    """Traps of this process, and how often each may still close."""

    def __init__(self, traps: Iterable[ArmedAction], seed: str) -> None:
        self._traps = list(traps)
        self._seed = seed
        self._lock = threading.Lock()
        self._begin()

    def _begin(self) -> None:
        """Each process draws for itself, also one that was forked from another."""
        self._pid = os.getpid()
        self._left = {trap: trap.times for trap in self._traps}
        self._random = random.Random(f"{self._seed} {self._pid}")  # noqa: S311 (no secret)

    def meet(self, point: Point, about: str) -> bool:
        if os.getpid() != self._pid:
            self._begin()
        twice = False
        for trap in self._traps:
            if trap.point is point and re.search(trap.about, about) and self._closes(trap):
                twice |= _perform(trap, about)
        return twice

    def _closes(self, trap: ArmedAction) -> bool:
        with self._lock:
            left = self._left[trap]
            if left == 0 or self._random.random() * 100 >= trap.percent:
                return False
            self._left[trap] = None if left is None else left - 1
            return True


def _perform(trap: ArmedAction, about: str) -> bool:
    log.warning("failpoint.reached", point=trap.point, action=trap.action, about=about)
    if trap.action is Action.CRASH:
        os.kill(os.getpid(), signal.SIGKILL)
    elif trap.action is Action.SLEEP:
        time.sleep(trap.seconds)
    elif trap.action is Action.RAISE:
        raise FailPointReached(f"{trap.point} {about}".strip())
    return trap.action is Action.DUPLICATE


_armed: _ArmedActions | None = None


def arm(text: str) -> None:
    """From now on things go wrong in this process as the text says; nothing where it is empty.

    Raises ValueError that says what is wrong with the text.
    """
    global _armed  # noqa: PLW0603 (one question must be all that an unarmed point costs)
    traps = parse(text)
    _armed = _ArmedActions(traps, text) if traps else None
    if traps:
        log.warning("failpoints.armed", traps=text)


def fail_point(point: Point, about: str = "") -> bool:
    """Do here what the point is armed for; True where what is done here is to be done twice.

    Raises FailPointReached where it is armed to raise.
    """
    return _armed is not None and _armed.meet(point, about)


def is_armed() -> bool:
    """Whether any point is armed in this process."""
    return _armed is not None
