"""Any sequence of actions keeps the invariants, and gives the results of the model."""

import random
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from enrollment.runtime.failpoints import Point
from tests.fault_lab import mutants
from tests.fault_lab.simulator.checks.model import CourseFacts
from tests.fault_lab.simulator.environment import Environment
from tests.fault_lab.simulator.fault_rates import CALM
from tests.fault_lab.simulator.initial_state import INITIAL_STATES
from tests.fault_lab.simulator.processes import (
    BEGINNING,
    COMMITTED,
    COMMITTING,
    SIMULATED_POINTS,
)
from tests.fault_lab.simulator.simulation import Simulation
from tests.fault_lab.simulator.workload import (
    ALGEBRA,
    BIOLOGY,
    KEYS,
    LEARNERS,
    MODES,
    MOMENTS,
    Attempt,
    RequestedChange,
)
from tests.support.in_process_service import ADMIN

#: Settings of the machines.
SETTINGS = settings(
    derandomize=True,
    database=None,
    max_examples=25,
    stateful_step_count=50,
    suppress_health_check=list(HealthCheck),
)
#: A machine that searches for an error need not shrink it.
HUNTING = settings(SETTINGS, max_examples=60, phases=[Phase.generate], print_blob=False)
#: Mutants, each with a seed that finds it early. Without one the seed is a digest of this file.
MUTANT_SEEDS = {
    "no_redispatch": 1,
    "claim_without_guard": 1,
    "stale_course": 1,
    "precedence_ignored": 1,
    "all_batches_dispatched_at_once": 11,
    "cancelled_requests_processed": 1,
    "accepted_before_commit": 2,
}

REQUESTS = st.builds(
    RequestedChange,
    st.sampled_from(LEARNERS),
    st.sampled_from((ALGEBRA, BIOLOGY)),
    st.booleans(),
    st.none() | st.sampled_from(MODES),
    st.none() | st.sampled_from(MOMENTS[:2]),
)
PLACES = st.integers(0, 100)
DEADLY = st.sampled_from(
    [
        BEGINNING,
        COMMITTING,
        COMMITTED,
        *(point for point in SIMULATED_POINTS if point is not Point.WORK_JUDGING),
    ]
)


class Machine(RuleBasedStateMachine):
    """Clients, operators and faults, with a model of the idempotency keys."""

    def __init__(self, environment: Environment) -> None:
        super().__init__()
        self.environment = environment
        self.calls = 0
        #: Key to the fingerprint and the id that was returned.
        self.keys = {}

    @initialize(initial_state=st.sampled_from(INITIAL_STATES))
    def begin(self, initial_state):
        self.sim = Simulation(
            self.environment, random.Random(0), CALM, initial_state._replace(granted=False)
        )
        self.sim.turn_is_over = 0.5

    # --- clients --------------------------------------------------------------------------

    @rule(request=REQUESTS, key=st.none() | st.sampled_from(KEYS))
    def ask(self, request, key):
        self.call(Attempt(self.label(), ADMIN, (request,), key=key))

    @rule(
        requests=st.lists(REQUESTS, min_size=1, max_size=6),
        key=st.none() | st.sampled_from(KEYS),
        lane=st.sampled_from(CALM.lanes),
        is_atomic=st.sampled_from([False, False, True]),
    )
    def send(self, requests, key, lane, is_atomic):
        requests = tuple(requests)
        self.call(Attempt(self.label(), ADMIN, requests, True, key, lane, is_atomic))  # noqa: FBT003

    @precondition(lambda self: self.known(key=True))
    @rule(place=PLACES)
    def ask_again(self, place):
        self.call(pick(self.known(key=True), place).repeat(self.label()))

    @precondition(lambda self: self.known(id=True))
    @rule(place=PLACES)
    def cancel(self, place):
        self.sim.cancel(self.sim.gateways[0], pick(self.known(id=True), place).id)

    @precondition(lambda self: self.known(id=True))
    @rule(place=PLACES)
    def read(self, place):
        self.sim.read(pick(self.known(id=True), place).id)

    def label(self):
        self.calls += 1
        return f"c{self.calls}"

    def known(self, **having):
        return [
            attempt
            for attempt in self.sim.history.attempts
            if all(getattr(attempt, name) is not None for name in having)
        ]

    def call(self, attempt):
        gateway = self.sim.gateways[self.calls % 2]
        if attempt.is_file:
            self.sim.send_file(gateway, attempt, batch_rows=2)
        else:
            self.sim.send_singles(gateway, [attempt])
        gateway.step_dispatcher()
        self.check_key(attempt)

    def check_key(self, attempt):
        stands_for = self.keys.get(attempt.key)
        if stands_for is None:
            if attempt.key is not None and attempt.id is not None:
                self.keys[attempt.key] = (attempt.fingerprint, attempt.id)
        elif not attempt.is_unknown:
            same = stands_for[0] == attempt.fingerprint
            assert (attempt.id, attempt.is_reuse) == ((stands_for[1] if same else None), not same)

    # --- operators ------------------------------------------------------------------------

    @rule(capacity=st.none() | st.integers(0, 3), username=st.none() | st.sampled_from(LEARNERS))
    def change_seats_or_an_invitation(self, capacity, username):
        if username is None:
            self.sim.edit(ALGEBRA, CourseFacts(capacity=capacity))
        else:
            self.sim.invite(BIOLOGY, username)

    @rule(seconds=st.none() | st.sampled_from([-1, 0, 3]))
    def close_or_open(self, seconds):
        closes = None if seconds is None else self.sim.time.now() + timedelta(seconds=seconds)
        self.sim.edit(BIOLOGY, CourseFacts(closes=closes))

    # --- the queue, time and faults -------------------------------------------------------

    @precondition(lambda self: self.sim.broker.ready())
    @rule(place=PLACES)
    def deliver_in_any_order(self, place):
        self.deliver(place)

    @precondition(lambda self: self.sim.broker.ready())
    @rule(place=PLACES)
    def deliver_and_again(self, place):
        batch_id = self.deliver(place)
        self.sim.broker.put(batch_id)

    def deliver(self, place):
        message = pick(self.sim.broker.ready(), place)
        self.sim.deliver(self.sim.workers[0], message)
        return message.batch_id

    @rule(seconds=st.sampled_from([0.3, 2.0, 6.0, 6.0]), flushed=st.booleans())
    def sweep_after(self, seconds, flushed):
        if flushed:
            self.sim.broker.flush()
        self.sim.time.advance(seconds)
        for gateway in self.sim.gateways:
            gateway.step_dispatcher()
        self.sim.redispatch()

    @rule(where=DEADLY, to_skip=st.integers(0, 2))
    def doom(self, where, to_skip):
        """Crashes a process at this step, after some others have passed it."""
        self.sim.crash_plan.crash_at, self.sim.crash_plan.to_skip = where, to_skip

    # --- invariants -----------------------------------------------------------------------

    @rule()
    def settle(self):
        self.sim.crash_plan.crash_at = None
        self.sim.settle()

        assert self.sim.faults() == []

    @invariant()
    def is_sound(self):
        assert self.sim.world().faults() == []

    def teardown(self):
        if hasattr(self, "sim"):
            self.sim.crash_plan.crash_at = None
            self.sim.heal()
            assert self.sim.faults() == []


def pick(ones, place):
    return ones[place % len(ones)]


@pytest.fixture
def environment():
    with Environment() as made:
        yield made


def test_the_service_does_what_the_model_says(environment):
    run_state_machine_as_test(lambda: Machine(environment), settings=SETTINGS)


@pytest.mark.parametrize("name", MUTANT_SEEDS)
def test_the_machine_finds_sabotage(environment, name):
    machine = seed(MUTANT_SEEDS[name])(lambda: Machine(environment))

    with mutants.MUTANTS[name](), pytest.raises(AssertionError):
        run_state_machine_as_test(machine, settings=HUNTING)
