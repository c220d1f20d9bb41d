"""What is done to the processes and to the receivers of webhooks in the runs of deliveries."""

from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple

from enrollment.runtime.failpoints import Point
from tests.support.webhook_receiver import Behaviour, answers, drops, hangs

#: How a receiver fails, in turn: an error, no answer in time, a dropped connection.
FAILURES: Sequence[Behaviour] = (answers(500), hangs, drops)


class Target(StrEnum):
    """What is killed."""

    BEAT = "beat"
    WORKER = "worker"
    REDIS = "redis"


class Plan(NamedTuple):
    """One fault of deliveries."""

    code: str
    title: str
    #: The fail points at which `enroll beat` dies by itself.
    points: Sequence[Point]
    #: What is killed, in turn.
    targets: Sequence[Target]
    #: Whether a second receiver of webhooks fails.
    has_failing_receiver: bool = False


PLANS: Sequence[Plan] = (
    Plan(
        "F29",
        "request stream: kill -9 of the consumer, also at each of its steps, of workers, of Redis",
        (Point.INBOUND_STORED, Point.INTAKE_BEFORE_COMMIT, Point.REPLY_SENT),
        (Target.BEAT, Target.WORKER, Target.REDIS),
    ),
    Plan(
        "F30",
        "relay: kill -9 of the relay, also at each of its steps, and of Redis",
        (Point.RELAY_READ, Point.RELAY_PUBLISHED, Point.RELAY_STORED),
        (Target.BEAT, Target.REDIS),
    ),
    Plan(
        "F31",
        "webhooks: a receiver answers 500, does not answer, drops the connection; kill -9 of beat",
        (),
        (Target.BEAT,),
        has_failing_receiver=True,
    ),
)
#: All of them at once.
EVERYTHING = Plan(
    "F29-31",
    "all of these in turn while messages come in",
    tuple(point for plan in PLANS for point in plan.points),
    (Target.BEAT, Target.WORKER, Target.REDIS),
    has_failing_receiver=True,
)


def receiver_script(failures: int, messages: int) -> list[Behaviour]:
    """Returns what a receiver does with each request: its failures are spread evenly."""
    good = answers(204)
    script: list[Behaviour] = []
    for number in range(failures):
        script += [good] * (messages // (2 * failures))
        script.append(FAILURES[number % len(FAILURES)])
    return [*script, good]
