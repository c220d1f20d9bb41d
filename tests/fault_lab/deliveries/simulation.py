"""Simulates what `enroll beat` runs beside the schedule: consumer, relay and sender of replies.

They are the real ones on a real Redis. Each is a process of the simulation, which may crash at
every fail point and at every transaction, and is then started again without memory.
"""

import random
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any, Self

from redis import Redis

from api_gateway.auth.api_keys import new_api_key
from enrollment.runtime.counters.relay_counters import RelayCounters
from enrollment.storage.credentials import api_keys
from tests.fault_lab.checker.deliveries import DeliveryRecord, find_faults
from tests.fault_lab.checker.ledger import Mark, read_ledger
from tests.fault_lab.deliveries import entries, rows
from tests.fault_lab.deliveries.entries import SentMessage
from tests.fault_lab.deliveries.simulated_threads import Beats, SimulatedThread
from tests.fault_lab.simulator.environment import Environment, patched
from tests.fault_lab.simulator.fault_rates import CALM, draw_fault_rates
from tests.fault_lab.simulator.initial_state import INITIAL_STATES
from tests.fault_lab.simulator.schedule import Player, Report
from tests.fault_lab.simulator.service import SimulatedNotifier
from tests.fault_lab.simulator.simulation import Simulation
from tests.fault_lab.simulator.workload import ALGEBRA, BIOLOGY, LEARNERS, MODES
from tests.support.servers import redis_process
from worker.inbound import stream_consumer
from worker.inbound.intake import InboundIntake
from worker.inbound.key_holders import KeyHolders
from worker.inbound.messages import ReplyStreams
from worker.inbound.reply_sender import ReplySender
from worker.inbound.stream_consumer import StreamConsumer
from worker.relay.channels import EventBusChannel, EventStreamChannel, Topics
from worker.relay.relay import Relay

#: Steps of a schedule, and rounds of healing: more than the lease of a channel lasts.
STEPS, MAX_ROUNDS, IDLE_ROUNDS = (20, 60), 60, 4
CALLER = "faults"
#: Steps of the clock in seconds.
PAUSES = (0.001, 0.3, 2.5, 11.0)


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
        rng = random.Random(f"deliveries {seed}")
        # An error of the code refuses a message (`internal_error`): what follows proves nothing.
        rates = draw_fault_rates(rng)._replace(
            raising=0.0, overlapping=0.0, skipped=0.0, poison=False, narrow=False, lanes=CALM.lanes
        )
        super().__init__(place.environment, rng, rates, INITIAL_STATES[0])
        self.seed, self._place = seed, place
        place.redis.flushall()
        self._key, digest = new_api_key()
        with place.environment.sessions.begin() as session:
            scopes, now = frozenset({"enroll"}), self.time.now()
            api_keys.add(session, name=CALLER, scopes=scopes, digest=digest, now=now)
        self.sent: list[SentMessage] = []
        self._lives = 0
        self.beats = Beats(
            [self._thread(f"consumer {name}", self._consumer) for name in "ab"],
            [self._thread(f"replies {name}", self._replier) for name in "ab"],
            [
                self._thread(f"{sort} {name}", relay)
                for sort, relay in {"stream": self._stream, "bus": self._bus}.items()
                for name in "ab"
            ],
        )
        self.note(f"seed {seed}: {rates}")

    # --- processes ------------------------------------------------------------------------

    def _thread(self, name: str, make: Callable[[], Callable[[], int]]) -> SimulatedThread:
        return SimulatedThread(name, self.crash_plan, make, begins=self.time.tick)

    def _new_name(self) -> str:
        self._lives += 1
        return f"life {self._lives}"

    def _consumer(self) -> Callable[[], int]:
        sessions = self.environment.crashing_sessions
        notifier = SimulatedNotifier(lambda: self.broker, self.on_processed)
        consumer = StreamConsumer(
            redis=Redis.from_url(self._place.url),
            stream=entries.REQUESTS,
            name=self._new_name(),
            intake=InboundIntake(
                sessions=sessions,
                holders=KeyHolders(sessions, None, monotonic=self.time.monotonic),
                dispatch=notifier.dispatch,
                max_pending_rows=1_000_000,
                monotonic=self.time.monotonic,
                now=self.time.now,
            ),
            replies=ReplyStreams(f"{entries.REQUESTS}:reply:"),
            monotonic=self.time.monotonic,
        )
        return lambda: consumer.consume(1)

    def _replier(self) -> Callable[[], int]:
        redis = Redis.from_url(self._place.url)
        return ReplySender(sessions=self.environment.crashing_sessions, redis=redis).send_due

    def _stream(self) -> Callable[[], int]:
        return self._relay(EventStreamChannel(self._place.url, entries.EVENTS, length=10_000))

    def _bus(self) -> Callable[[], int]:
        enrolled, withdrawn = entries.TOPICS
        topics = Topics("", enrolled, enrolled, withdrawn)
        return self._relay(EventBusChannel(self._place.url, topics))

    def _relay(self, channel: Any) -> Callable[[], int]:
        return Relay(
            self.environment.crashing_sessions,
            channel,
            RelayCounters(),
            holder=self._new_name(),
            monotonic=self.time.monotonic,
        ).publish_next

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
        """Appends a request, or a list of some."""
        number = self.rng.choice((1, 1, 1, 2, 4))
        requests = tuple(self._draw_request() for _ in range(number))
        self.sent.append(SentMessage(f"m{len(self.sent) + 1}", requests))
        self._append(self.sent[-1])

    def _send_again(self) -> None:
        """Appends a message whose sender does not know whether it arrived."""
        self._append(self.rng.choice(self.sent))

    def _append(self, message: SentMessage) -> None:
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
