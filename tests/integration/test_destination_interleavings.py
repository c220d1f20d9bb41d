"""Property: in any interleaving a destination ends in the last state, and never goes back."""

from datetime import UTC, datetime, timedelta
from itertools import count, pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from enrollment.domain.destinations.records import ApplyResult
from enrollment.storage.destinations import deliveries, registry, removal
from tests.support.in_process_service import COURSE, SERVER, request
from tests.support.scripted_destination import ARRIVED, Destinations, ScriptedKind
from worker.destinations.fan_out import read_changes

LEARNERS = ("ada", "ben")
#: Attributes with rising values stand for the order of the changes.
_NUMBERS = count()

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("change"), st.sampled_from(LEARNERS)),
        st.sampled_from([("read",), ("rest_is_over",), ("killed",), ("retry",)]),
        st.tuples(
            st.just("send"),
            st.lists(
                st.sampled_from(["arrives", "away", "applied_but_lost", "refused", "changed"]),
                max_size=3,
            ),
        ),
    ),
    max_size=14,
)


class Lms:
    """A destination that applies states, and a service that changes them in between."""

    def __init__(self, world, destinations):
        self.world, self.destinations = world, destinations
        self.applied = []
        self.kind = ScriptedKind(else_=self._arrive)
        self.stored = destinations.add(kind=self.kind)

    def _arrive(self, state):
        self.applied.append((state.username, int(state.attributes[0].value)))
        return ARRIVED

    def _answer(self, how):
        def answer(state):
            if how == "refused":
                return ApplyResult(400, "", "refused", is_permanent=True)
            if how == "away":
                return ApplyResult(error="not_reachable")
            self._arrive(state)
            if how == "applied_but_lost":
                return ApplyResult(error="timeout")
            if how == "changed":
                self.change(state.username)
                read_changes(self.destinations.sessions)
            return ARRIVED

        return answer

    def change(self, username):
        value = ("order", "number", str(next(_NUMBERS)))
        self.world.ask(request(username, attributes=(value,)), caller=SERVER)
        self.world.work()

    def send(self, answers):
        self.kind.answers = [self._answer(how) for how in answers]
        self.destinations.deliver(self.stored)
        self.kind.answers = []

    def read(self):
        read_changes(self.destinations.sessions)

    def rest_is_over(self):
        self.destinations.make_due()

    def killed(self):
        """A process is killed when it has sent, and before it stores that."""
        with self.destinations.sessions.begin() as session:
            now = datetime.now(UTC)
            until = now + timedelta(minutes=1)
            if registry.lease(session, self.stored.id, now=now, until=until) is None:
                return
            due = deliveries.find_due(session, self.stored.id, now=now, limit=1)
        for each in due:
            self._arrive(each.state)

    def retry(self):
        with self.destinations.sessions.begin() as session:
            now = datetime.now(UTC)
            deliveries.retry_failed(session, self.stored.id, after=0, limit=9, now=now)

    def settle(self):
        """Lets everything that waits arrive."""
        self.destinations.read_all()
        self.retry()
        self.destinations.make_due()
        while self.destinations.deliver(self.stored):
            self.destinations.make_due()


@pytest.mark.usefixtures("sessions")
@settings(
    deadline=None,
    max_examples=40,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(steps=STEPS)
def test_the_last_state_arrives_and_none_before_it_comes_later(world, steps):
    destinations = Destinations(world.sessions)
    world.course(COURSE)
    with world.sessions.begin() as session:
        removal.remove(session, "lms", now=datetime.now(UTC))
    lms = Lms(world, destinations)
    wanted = {}
    for name, *arguments in steps:
        getattr(lms, name)(*arguments)
    lms.settle()
    for learner in LEARNERS:
        numbers = [number for username, number in lms.applied if username == learner]
        assert all(before <= after for before, after in pairwise(numbers))
        wanted[learner] = numbers[-1] if numbers else None
    for delivery in destinations.log(lms.stored):
        state = world.enrollments()[COURSE, delivery.username]
        assert str(wanted[delivery.username]) == state.attributes[0].value
        assert delivery.state == "delivered"
    destinations.delivery.clients.close()
