"""Runs one schedule: drawn from a seed, run, healed, checked."""

import random
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import select

from enrollment.domain.codes import Lane
from enrollment.storage.tables import BatchRow
from tests.fault_lab.simulator.environment import Environment
from tests.fault_lab.simulator.fault_rates import FaultRates, draw_fault_rates
from tests.fault_lab.simulator.initial_state import draw_initial_state
from tests.fault_lab.simulator.service import Gateway, Worker
from tests.fault_lab.simulator.simulation import Simulation
from tests.fault_lab.simulator.workload import (
    ALGEBRA,
    BIOLOGY,
    LEARNERS,
    Attempt,
    WorkloadGenerator,
)

#: Steps of the clock in seconds: below and above every time limit.
PAUSES = (0.001, 0.1, 0.3, 1.0, 2.5, 6.0)


class Report(NamedTuple):
    """The result of one schedule."""

    seed: int
    trace: list[str]
    faults: list[str]
    #: Requests that were answered 202.
    accepted: int


#: Runs the schedule of a seed.
Player = Callable[[int], Report]


class Schedule(Simulation):
    """A simulation whose next step is drawn from its seed."""

    def __init__(self, environment: Environment, seed: int) -> None:
        rng = random.Random(seed)
        rates = draw_fault_rates(rng)
        initial_state = draw_initial_state(rng, overlapping=rates.overlapping)
        super().__init__(environment, rng, rates, initial_state)
        self.seed = seed
        self.workload = WorkloadGenerator(
            rng,
            granted=initial_state.granted,
            poisonous=rates.poison,
            narrow=rates.narrow,
            lanes=rates.lanes,
        )
        self.calls_left = rng.randint(2, 5)
        #: Calls left that are made while a process is paused.
        self.concurrent_calls_left = 2
        #: Lanes and submissions of batches that open transactions lock.
        self._held: list[tuple[str, UUID | None]] = []
        self.note(f"seed {seed}: {initial_state} {rates}")

    def play(self) -> Report:
        """Runs the schedule to its end and checks it."""
        for _ in range(self.rng.randint(6, 18)):
            self.step()
        while self.calls_left > 0:
            self.step()
        self.repeat_unknown()
        self.heal()
        accepted = sum(len(one.changes) for one in self.history.attempts if one.id is not None)
        return Report(self.seed, self.trace, self.faults(), accepted)

    def meanwhile(self) -> None:
        if self._held:  # other steps would have to respect the locks of the open transaction
            return
        if self.concurrent_calls_left > 0 and self.rng.random() < 0.4:
            self.concurrent_calls_left -= 1
            self.send_singles(self.rng.choice(self.gateways), [self.workload.single()])
        else:
            self.step()

    # --- next step ------------------------------------------------------------------------

    def step(self) -> None:
        """Runs one random step."""
        has_undispatched = any(gateway.dispatcher.inbox for gateway in self.gateways)
        idle = any(worker.message is None for worker in self.workers)
        rates = self.crash_plan.rates
        deliveries = 0.5 if rates.narrow and len(self.broker.ready()) < 2 else 4.0
        chances = {
            self.call_any: 3.0 if self.calls_left > 0 else 0.0,
            self.step_any_dispatcher: 3.0 if has_undispatched else 0.1,
            self.deliver_any: deliveries if idle and self.broker.ready() else 0.0,
            self.pass_time: 1.0,
            self.redispatch: 0.4,
            self.cancel_any: 0.4,
            self.edit_any: 0.0 if self.initial_state.granted or rates.overlapping else 0.4,
            self.read_any: 0.3,
            self.kill_any: 3.0 * rates.crash,
            self.flush: 3.0 * rates.flush,
        }
        (what,) = self.rng.choices(list(chances), list(chances.values()))
        what()

    def run_concurrently(self) -> None:
        if any(facts.capacity is not None for facts in self.facts.values()):
            return  # a request for a seat would wait for the lock
        worker = next(one for one in self.workers if one.process is self.crash_plan.running_process)
        assert worker.message is not None
        self.note(f"    concurrent with the transaction on batch {worker.message.batch_id}:")
        self._held.append(self.place_of(worker.message.batch_id))
        try:
            self.step_concurrently(worker)
        finally:
            self._held.pop()

    def step_concurrently(self, worker: Worker) -> None:
        """Runs one step that no row lock of the open transaction would block."""
        idle = [one for one in self.workers if one.message is None]
        if not self.initial_state.granted and self.rng.random() < 0.4:
            self.edit_any()
        elif self.concurrent_calls_left > 0:
            self.concurrent_calls_left -= 1
            self.send_file(self.rng.choice(self.gateways), self.workload.file(), batch_rows=2)
        for gateway in self.gateways:
            gateway.step_dispatcher()
        ready = [one for one in self.broker.ready() if self.may_run(one.batch_id)]
        if idle and ready:
            self.deliver(self.rng.choice(idle), self.rng.choice(ready))
        if self.crash_plan.happens(self.crash_plan.rates.crash):
            self.kill(worker.process)

    def place_of(self, batch_id: int) -> tuple[str, UUID | None]:
        """Returns the lane and the submission of a batch."""
        query = select(BatchRow.lane, BatchRow.submission_id).where(BatchRow.id == batch_id)
        with self.environment.sessions.read() as session:
            row = session.execute(query).one()
        return row.lane, row.submission_id

    def may_run(self, batch_id: int) -> bool:
        """Returns whether a batch conflicts with none of the locked batches."""
        lane, submission_id = self.place_of(batch_id)
        if lane == Lane.INTERACTIVE:
            return all(held[0] != Lane.INTERACTIVE for held in self._held)
        return all(held[1] != submission_id for held in self._held)

    def call_any(self) -> None:
        """Sends a request, a file, or a repetition."""
        self.calls_left -= 1
        gateway = self.rng.choice(self.gateways)
        kind = self.rng.random()
        if kind < 0.25 and (known := [one for one in self.history.attempts if one.key]):
            self.repeat_call(gateway, self.rng.choice(known))
        elif kind < 0.6:
            self.send_singles(
                gateway, [self.workload.single() for _ in range(self.rng.randint(1, 3))]
            )
        else:
            self.send_file(
                gateway, self.workload.file(), batch_rows=self.rng.choice((1, 2, 2, 3, 4))
            )

    def repeat_call(self, gateway: Gateway, attempt: Attempt) -> None:
        """Repeats a call under its key; sometimes with other content by mistake."""
        repeated = attempt.repeat(self.workload.label())
        if self.rng.random() < 0.3:
            other = (self.workload.draw_change(attempt.caller),)
            repeated.changes = other if not attempt.is_file else (*attempt.changes, *other)
        if attempt.is_file:
            self.send_file(gateway, repeated, batch_rows=2)
        else:
            self.send_singles(gateway, [repeated])

    def repeat_unknown(self) -> None:
        """Repeats calls without a known answer until one arrives."""
        self.crash_plan.active = False
        for attempt in list(self.history.attempts):
            if not (attempt.key and attempt.is_unknown and self.rng.random() < 0.7):
                continue
            before = len(self.history.attempts)
            self.repeat_same(attempt)
            if self.history.attempts[before].is_unknown:
                self.history.faults.append(f"{attempt} is not answered though all is well")

    def repeat_same(self, attempt: Attempt) -> None:
        repeated = attempt.repeat(self.workload.label())
        if attempt.is_file:
            self.send_file(self.gateways[0], repeated, batch_rows=2)
        else:
            self.send_singles(self.gateways[0], [repeated])

    def step_any_dispatcher(self) -> None:
        """Runs one step of a dispatcher."""
        waiting = [gateway for gateway in self.gateways if gateway.dispatcher.inbox]
        self.rng.choice(waiting or self.gateways).step_dispatcher()

    def deliver_any(self) -> None:
        """Delivers any message to any idle worker."""
        idle: list[Worker] = [worker for worker in self.workers if worker.message is None]
        self.deliver(self.rng.choice(idle), self.rng.choice(self.broker.ready()))

    def pass_time(self) -> None:
        """Moves the clock."""
        self.time.advance(self.rng.choice(PAUSES))

    def cancel_any(self) -> None:
        """Cancels a submission that was accepted."""
        known = [one.id for one in self.history.attempts if one.id is not None]
        if known:
            self.cancel(self.rng.choice(self.gateways), self.rng.choice(known))

    def edit_any(self) -> None:
        """Changes seats, the window or an invitation."""
        kind = self.rng.random()
        if kind < (0.8 if self.workload.narrow else 0.5):
            capacity = self.rng.choice((0, 1) if self.workload.narrow else (None, 0, 1, 2, 3))
            self.edit(ALGEBRA, replace(self.facts[ALGEBRA], capacity=capacity))
        elif kind < 0.9:
            moment = self.time.now() + timedelta(seconds=self.rng.choice((-1, 0, 3)))
            closes = None if self.facts[BIOLOGY].closes else moment
            self.edit(BIOLOGY, replace(self.facts[BIOLOGY], closes=closes))
        else:
            self.invite(BIOLOGY, self.rng.choice(LEARNERS))

    def read_any(self) -> None:
        """Reads outcomes as a client."""
        known = [one.id for one in self.history.attempts if one.id is not None]
        if known:
            self.read(self.rng.choice(known))

    def kill_any(self) -> None:
        """Kills any process."""
        processes = [one.process for one in (*self.gateways, *self.workers, self.maintenance)]
        self.kill(self.rng.choice(processes))

    def flush(self) -> None:
        """Drops all messages of the broker."""
        self.note("the broker forgets everything")
        self.broker.flush()


def rates_of(seed: int) -> FaultRates:
    """Returns the fault rates of a seed."""
    return draw_fault_rates(random.Random(seed))


def play(environment: Environment, seed: int) -> Report:
    """Runs the schedule of a seed."""
    schedule = Schedule(environment, seed)
    try:
        return schedule.play()
    except Exception as error:  # noqa: BLE001 (an unexpected error is a violation, with its seed)
        lines = traceback.format_exc().splitlines()
        return Report(seed, [*schedule.trace, *lines], [f"it broke: {error!r}"], 0)


@contextmanager
def player() -> Iterator[Player]:
    """Yields a function that runs the schedule of a seed."""
    with Environment() as environment:
        yield partial(play, environment)
