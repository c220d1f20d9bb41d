"""Fail points: places in the code where fault tests inject failures; off in production.

`ENROLL_FAILPOINTS` arms them: `POINT=ACTION[:SECONDS][%PERCENT][*TIMES][@PATTERN]`, separated by
`;`. For example, `work.before_commit=crash%5;work.judging=raise@poison` kills the process at one
commit in twenty, and raises for usernames that contain `poison`.
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
    """A place where a failure can be injected."""

    #: S1: a single request or a part of a file is written and not committed.
    INTAKE_BEFORE_COMMIT = "intake.before_commit"
    #: S2: it is committed, and 202 is not sent.
    INTAKE_COMMITTED = "intake.committed"
    #: S3: a batch id is about to be published.
    RING_BEFORE = "ring.before"
    #: S4: it is published.
    RING_SENT = "ring.sent"
    #: S5: a worker has received the message and has not started.
    TASK_POPPED = "task.popped"
    #: A worker decodes a request; the subject is its username.
    WORK_JUDGING = "work.judging"
    #: S6: everything is written and not committed.
    WORK_BEFORE_COMMIT = "work.before_commit"
    #: S7: it is committed, and the message is not acknowledged.
    WORK_COMMITTED = "work.committed"
    #: S8: overdue batches are marked as dispatched again, and are not dispatched.
    SWEEP_READ = "sweep.read"
    #: S9: they are dispatched.
    SWEEP_ANNOUNCED = "sweep.announced"
    #: Requests of a stream or a task are committed, and their messages are not acknowledged.
    INBOUND_STORED = "inbound.stored"
    #: A reply is sent, and still counts as owed.
    REPLY_SENT = "reply.sent"
    #: The relay has read events and not published them; the subject is the channel.
    RELAY_READ = "relay.read"
    #: They are published, and the position is not stored.
    RELAY_PUBLISHED = "relay.published"
    #: The position is stored.
    RELAY_STORED = "relay.stored"


class Action(StrEnum):
    """The failure to inject."""

    CRASH = "crash"
    SLEEP = "sleep"
    RAISE = "raise"
    #: The step is performed twice.
    DUPLICATE = "duplicate"


#: Points at a step that can be performed twice.
_REPEATABLE = frozenset({Point.RING_SENT, Point.WORK_COMMITTED, Point.SWEEP_ANNOUNCED})


class FailPointReached(Exception):
    """Raised by a fail point that is armed with `raise`."""


class ArmedAction(NamedTuple):
    """An action at a point, with its probability, limit and subject."""

    point: Point
    action: Action
    seconds: float = 0.0
    percent: float = 100.0
    #: Maximum number of times in this process; None: no limit.
    times: int | None = None
    #: Regular expression that the subject must contain a match of; empty: every subject.
    about: str = ""


_SYNTAX = re.compile(
    r"(?P<point>[a-z_.]+)=(?P<action>[a-z]+)(?::(?P<seconds>[0-9.]+))?"
    r"(?:%(?P<percent>[0-9.]+))?(?:\*(?P<times>[0-9]+))?(?:@(?P<about>.+))?"
)


def parse(text: str) -> tuple[ArmedAction, ...]:
    """Parses the setting. Raises ValueError, whose message continues the name of the setting."""
    return tuple(_parse_one(part.strip()) for part in text.split(";") if part.strip())


def _parse_one(text: str) -> ArmedAction:
    found = _SYNTAX.fullmatch(text)
    if found is None:
        message = f"must be POINT=ACTION[:SECONDS][%PERCENT][*TIMES][@PATTERN], not {text!r}"
        raise ValueError(message)
    times = found["times"]
    try:
        armed = ArmedAction(
            Point(found["point"]),
            Action(found["action"]),
            float(found["seconds"] or 0),
            float(found["percent"] or 100),
            None if times is None else int(times),
            found["about"] or "",
        )
        re.compile(armed.about)
    except (ValueError, re.error) as error:
        message = f"contains {text!r}: {error}"
        raise ValueError(message) from error
    if armed.action is Action.DUPLICATE and armed.point not in _REPEATABLE:
        known = ", ".join(sorted(_REPEATABLE))
        message = f"contains {text!r}: only {known} can be duplicated"
        raise ValueError(message)
    return armed


class _ArmedActions:
    """The armed actions of this process, and how often each may still happen."""

    def __init__(self, actions: Iterable[ArmedAction], seed: str) -> None:
        self._actions = list(actions)
        self._seed = seed
        self._lock = threading.Lock()
        self._reset()

    def _reset(self) -> None:
        """Resets limits and random numbers; each process has its own, also after a fork."""
        self._pid = os.getpid()
        self._left = {armed: armed.times for armed in self._actions}
        self._random = random.Random(f"{self._seed} {self._pid}")  # noqa: S311 (no secret)

    def trigger(self, point: Point, about: str) -> bool:
        """Performs the actions of a point; returns whether the step is to be performed twice."""
        if os.getpid() != self._pid:
            self._reset()
        twice = False
        for armed in self._actions:
            if armed.point is point and re.search(armed.about, about) and self._applies(armed):
                twice |= _perform(armed, about)
        return twice

    def _applies(self, armed: ArmedAction) -> bool:
        """Returns whether the action happens this time, and counts it."""
        with self._lock:
            left = self._left[armed]
            if left == 0 or self._random.random() * 100 >= armed.percent:
                return False
            self._left[armed] = None if left is None else left - 1
            return True


def _perform(armed: ArmedAction, about: str) -> bool:
    log.warning("failpoint.reached", point=armed.point, action=armed.action, about=about)
    if armed.action is Action.CRASH:
        os.kill(os.getpid(), signal.SIGKILL)
    elif armed.action is Action.SLEEP:
        time.sleep(armed.seconds)
    elif armed.action is Action.RAISE:
        raise FailPointReached(f"{armed.point} {about}".strip())
    return armed.action is Action.DUPLICATE


_armed: _ArmedActions | None = None


def arm(text: str) -> None:
    """Arms fail points in this process as the setting says; an empty text disarms all.

    Raises ValueError with the problem.
    """
    global _armed  # noqa: PLW0603 (an unarmed point must cost one comparison only)
    actions = parse(text)
    _armed = _ArmedActions(actions, text) if actions else None
    if actions:
        log.warning("failpoints.armed", traps=text)


def fail_point(point: Point, about: str = "") -> bool:
    """Performs the armed actions of a point; True where the step is to be performed twice.

    Raises FailPointReached where it is armed with `raise`.
    """
    return _armed is not None and _armed.trigger(point, about)


def is_armed() -> bool:
    """Returns whether any point is armed in this process."""
    return _armed is not None
