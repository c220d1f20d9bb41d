"""Simulates what `enroll beat` runs beside the schedule, and the task `enrollment.submit`.

Consumer, relay, sender of replies and the task are the real ones on a real Redis. Each is a process of the simulation, which may crash at
every fail point and at every transaction, and is then started again without memory.
"""

import random
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import count
from typing import Any, Self

from redis import Redis

from api_gateway.auth.api_keys import new_api_key
from enrollment.runtime.failpoints import Point
from enrollment.storage.credentials import api_keys
from tests.fault_lab.checker.deliveries import DeliveryRecord, find_faults
from tests.fault_lab.checker.ledger import Mark, read_ledger
from tests.fault_lab.deliveries import entries, rows
from tests.fault_lab.deliveries.entries import SentMessage
from tests.fault_lab.deliveries.simulated_calls import Call, CallQueue
from tests.fault_lab.deliveries.simulated_parts import Parts, Step
from tests.fault_lab.deliveries.simulated_threads import Beats, SimulatedThread
from tests.fault_lab.simulator.environment import Environment, patched
from tests.fault_lab.simulator.fault_rates import CALM, FaultRates, draw_fault_rates
from tests.fault_lab.simulator.initial_state import INITIAL_STATES
from tests.fault_lab.simulator.schedule import Player, Report
from tests.fault_lab.simulator.service import SimulatedNotifier
from tests.fault_lab.simulator.simulation import Simulation
from tests.fault_lab.simulator.workload import ALGEBRA, BIOLOGY, LEARNERS, MODES
from tests.support.servers import redis_process
from worker.inbound import stream_consumer

#: Steps of a schedule, and rounds of healing: more than the lease of a channel lasts.
STEPS, MAX_ROUNDS, IDLE_ROUNDS = (20, 60), 60, 4
CALLER = "faults"
#: Probability that a message is a call of the task, not an entry of the stream.
CALLED = 0.3
#: Steps of the clock in seconds.
PAUSES = (0.001, 0.3, 2.5, 11.0)


def delivery_rates_of(seed: int) -> FaultRates:
    """Returns the fault rates of a seed."""
    return _draw_rates(_random_of(seed))


def _random_of(seed: int) -> random.Random:
    return random.Random(f"deliveries {seed}")


def _draw_rates(rng: random.Random) -> FaultRates:
    return draw_fault_rates(rng)._replace(
        overlapping=0.0, skipped=0.0, poison=False, narrow=False, lanes=CALM.lanes
    )


class DeliveryPlace:
    """An environment with a Redis, in which schedules run one after another."""

    def __init__(self) -> None:
        self.environment = Environment()
        self._undo = ExitStack()

    def __enter__(self) -> Self:
        self._undo.enter_context(self.environment)
        self.url = self._undo.enter_context(redis_process()).url
        self.redis = self._undo.enter_context(Redis.from_url(self.url))
        self.redis.config_set("hz", 500)  # how often it looks for reads that have waited enough
        # the clock of Redis does not move with that of a schedule
        self._undo.enter_context(patched(stream_consumer, "ABANDONED_MS", 0))
        return self

    def __exit__(self, *_: object) -> None:
        self._undo.close()


class DeliverySimulation(Simulation):
    """A sender that appends messages, two beats, two workers; the steps are drawn from a seed."""

    def __init__(self, place: DeliveryPlace, seed: int) -> None:
        rng = _random_of(seed)
        super().__init__(place.environment, rng, _draw_rates(rng), INITIAL_STATES[0])
        self.seed, self._place = seed, place
        place.redis.flushall()
        self._key, digest = new_api_key()
        with place.environment.sessions.begin() as session:
            scopes, now = frozenset({"enroll"}), self.time.now()
            api_keys.add(session, name=CALLER, scopes=scopes, digest=digest, now=now)
        self.sent: list[SentMessage] = []
        #: How often each message was appended to the stream, and those that were called.
        self.copies: Counter[str] = Counter()
        self.called: set[str] = set()
        self.queue = CallQueue(self.crash_plan)
        self.beats = self._make_beats()
        self.note(f"seed {seed}: {self.crash_plan.rates}")

    # --- processes ------------------------------------------------------------------------

    def _make_beats(self) -> Beats:
        notifier = SimulatedNotifier(lambda: self.broker, self.on_processed)
        parts = Parts(
            connections=self._place.redis.connection_pool,
            redis_fails=self._redis_fails,
            sessions=self.environment.crashing_sessions,
            dispatch=notifier.dispatch,
            time=self.time,
            queue=self.queue,
            lives=count(1),
        )
        return Beats(
            [self._thread(f"consumer {name}", parts.consumer) for name in "ab"],
            [self._thread(f"replies {name}", parts.replier) for name in "ab"],
            [
                self._thread(f"{sort} {name}", relay)
                for sort, relay in {"stream": parts.stream_relay, "bus": parts.bus_relay}.items()
                for name in "ab"
            ],
            [self._thread(f"callee {name}", parts.callee) for name in "ab"],
        )

    def _thread(self, name: str, make: Callable[[], Step]) -> SimulatedThread:
        return SimulatedThread(name, self.crash_plan, make, begins=self.time.tick)

    def _redis_fails(self, moment: str) -> bool:
        plan = self.crash_plan
        fails = plan.running_process is not None and plan.happens(plan.rates.broker_down)
        if fails:
            self.note(f"    Redis fails {moment} a call")
        return fails

    # --- the schedule ---------------------------------------------------------------------

    def meanwhile(self) -> None:
        self._step_any([*self.beats.relays, *self.beats.repliers])

    def play(self) -> Report:
        """Runs the schedule to its end and checks it."""
        for _ in range(self.rng.randint(*STEPS)):
            self._next_step()
        self._heal_deliveries()
        return Report(self.seed, self.trace, self.delivery_faults(), len(self.sent))

    def _next_step(self) -> None:
        chances = {
            self._send_message: 2.0,
            self._send_again: 0.3 if self.sent else 0.0,
            lambda: self._step_any(self.beats.consumers): 2.0,
            lambda: self._step_any(self.beats.callees): 1.0,
            lambda: self._step_any(self.beats.repliers): 1.0,
            lambda: self._step_any(self.beats.relays): 3.0,
            self._work: 2.0,
            self._pass_time: 1.0,
            self.redispatch: 0.4,
            self._kill_any: 3.0 * self.crash_plan.rates.crash,
        }
        (what,) = self.rng.choices(list(chances), list(chances.values()))
        what()

    def _send_message(self) -> None:
        """Hands in a request, or a list of some."""
        number = self.rng.choice((1, 1, 1, 2, 4))
        requests = tuple(self._draw_request() for _ in range(number))
        self.sent.append(SentMessage(f"m{len(self.sent) + 1}", requests))
        self._hand_in(self.sent[-1])

    def _send_again(self) -> None:
        """Hands in a message whose sender does not know whether it arrived."""
        self._hand_in(self.rng.choice(self.sent))

    def _hand_in(self, message: SentMessage) -> None:
        """Calls the task, or appends to the stream."""
        if self.rng.random() < CALLED:
            self.called.add(message.id)
            self.note(f"message {message.id} is called: {message.requests}")
            task_id = f"task {len(self.trace)}"
            self.queue.calls.append(Call(message.arguments(self._key), task_id))
        else:
            self.copies[message.id] += 1
            self.note(f"message {message.id} is sent: {message.requests}")
            self._place.redis.xadd(entries.REQUESTS, message.fields(self._key))

    def _draw_request(self) -> dict[str, object]:
        return {
            "user": self.rng.choice(LEARNERS),
            "course_id": self.rng.choice((ALGEBRA, BIOLOGY)),
            "is_active": self.rng.random() < 0.7,
            "mode": self.rng.choice((None, *MODES)),
        }

    def _step_any(self, threads: list[SimulatedThread]) -> int:
        thread = self.rng.choice(threads)
        done = thread.step()
        self.note(f"{thread.process.name} takes a step: {done}")
        return done

    def _work(self) -> None:
        if ready := self.broker.ready():
            self.deliver(self.workers[0], self.rng.choice(ready))

    def _pass_time(self) -> None:
        self.time.advance(self.rng.choice(PAUSES))

    def _kill_any(self) -> None:
        processes = [one.process for one in (*self.beats.all(), *self.workers)]
        self.kill(self.rng.choice(processes))

    def _heal_deliveries(self) -> None:
        """Ends all faults and runs until nothing is left to do."""
        self.crash_plan.active = False
        self.note("all faults are healed")
        idle = 0
        for _ in range(MAX_ROUNDS):
            done = sum(thread.step() for thread in self.beats.all())
            self.settle()
            self.time.advance(6.0)
            idle = 0 if done else idle + 1
            if idle == IDLE_ROUNDS:
                return

    # --- the check ------------------------------------------------------------------------

    def delivery_faults(self) -> list[str]:
        """Returns what is wrong with rows and deliveries."""
        ledger = read_ledger(self.environment.sessions, Mark())
        record = DeliveryRecord(
            changes=rows.changes_of(ledger),
            arrivals={
                "stream": [entries.stream_arrival(each) for each in self._entries(entries.EVENTS)],
                "bus": [
                    entries.bus_arrival(topic, each)
                    for topic in entries.TOPICS
                    for each in self._entries(topic)
                ],
            },
            requests={message.id: len(message.requests) for message in self.sent},
            stored=rows.results_of(ledger, f"key:{CALLER}"),
            replies=[entries.read_reply(each) for each in self._entries(entries.REPLIES)],
            # Before a refusal two attempts fail, and neither was committed.
            explained_refusals=self.crash_plan.raised[Point.INTAKE_BEFORE_COMMIT] // 2,
            copies={id_: self.copies[id_] for id_ in self.copies.keys() - self.called},
        )
        found = [*rows.row_faults(ledger), *find_faults(record), *self.world().faults()]
        return [*self.history.faults, *found]

    def _entries(self, stream: str) -> Iterator[entries.Fields]:
        found: Any = self._place.redis.xrange(stream)
        return (fields for _, fields in found)


@contextmanager
def delivery_player() -> Iterator[Player]:
    """Yields a function that runs the schedule of a seed."""
    with DeliveryPlace() as place:
        yield partial(_play, place)


def _play(place: DeliveryPlace, seed: int) -> Report:
    simulation = DeliverySimulation(place, seed)
    try:
        return simulation.play()
    except Exception as error:  # noqa: BLE001 (an unexpected error is a violation, with its seed)
        lines = traceback.format_exc().splitlines()
        return Report(seed, [*simulation.trace, *lines], [f"it broke: {error!r}"], 0)
