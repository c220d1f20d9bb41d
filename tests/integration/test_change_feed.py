"""The change feed: gapless positions in the order of commits, and nothing ever passed over."""

import json
from datetime import UTC, datetime
from uuid import UUID

import pytest

from enrollment.domain.codes import ChangeKind
from enrollment.storage import events as event_store
from enrollment.storage.event_ids import event_id
from enrollment.storage.events import NewEvent
from enrollment.storage.views import enrollment_views
from tests.support.breakpoints import Breakpoint, Side
from tests.support.context_managers import at_once
from tests.support.in_process_service import COURSE, hours_ago, request, row

NOW = datetime(2026, 9, 1, tzinfo=UTC)
SUBMISSION = UUID(int=7)


def happen(session, batch_id, number=1):
    """Some events of a batch, not yet in the feed."""
    state = json.dumps({"mode": "audit", "is_active": True})
    events = [
        NewEvent(
            event_id(batch_id, n),
            None,
            ChangeKind.CREATED,
            COURSE,
            f"learner{batch_id}.{n}",
            SUBMISSION,
            n,
            "key:sis",
            None,
            state,
        )
        for n in range(number)
    ]
    at_once(
        event_store.append_pipelined(session, event_store.render_events(session, events, now=NOW))
    )


class Reader:
    """Reads on from where it was, a few at a time, until there is nothing new."""

    def __init__(self, sessions, limit=2):
        self.sessions = sessions
        self.limit = limit
        self.read = []

    def read_on(self):
        while True:
            since = self.read[-1].position if self.read else 0
            with self.sessions.read() as session:
                found = event_store.events_after(session, since, limit=self.limit)
            if not found:
                return [(event.position, event.username) for event in self.read]
            self.read += found


def test_an_event_comes_back_as_it_was_kept(sessions):
    with sessions.begin() as session:
        happen(session, 5)
        assert event_store.assign_positions(session, {5: 1}) == 1

    with sessions.read() as session:
        (event,) = event_store.events_after(session, 0, limit=10)

    assert event == (
        event_id(5, 0),
        ChangeKind.CREATED,
        COURSE,
        "learner5.0",
        NOW,
        SUBMISSION,
        0,
        "key:sis",
        None,
        {"mode": "audit", "is_active": True},
        1,
        None,
    )


def test_an_empty_feed_has_nothing_and_a_batch_without_events_takes_no_place(sessions):
    with sessions.begin() as session:
        assert event_store.assign_positions(session, {5: 0}) == 0

    assert Reader(sessions).read_on() == []


@pytest.mark.parametrize("limit", [1, 2, 3, 100])
def test_pages_of_any_length_come_to_the_whole_feed(sessions, limit):
    for spans in ({9: 3, 4: 1}, {2: 5}, {7: 0, 8: 2}):
        with sessions.begin() as session:
            for batch_id, number in spans.items():
                happen(session, batch_id, number)
            event_store.assign_positions(session, spans)

    names = [*(f"9.{n}" for n in range(3)), "4.0", *(f"2.{n}" for n in range(5)), "8.0", "8.1"]
    assert Reader(sessions, limit).read_on() == [
        (position, f"learner{name}") for position, name in enumerate(names, 1)
    ]


def test_a_reader_at_the_end_is_given_nothing_twice(sessions):
    reader = Reader(sessions)
    for batch_id in (3, 1, 2):
        with sessions.begin() as session:
            happen(session, batch_id)
            event_store.assign_positions(session, {batch_id: 1})
        reader.read_on()

    assert reader.read_on() == [(1, "learner3.0"), (2, "learner1.0"), (3, "learner2.0")]


def test_an_older_batch_that_commits_later_is_not_passed_over(postgres_world):
    sessions = postgres_world.sessions
    reader = Reader(sessions)
    with sessions.begin() as slow:
        happen(slow, 1, 2)
        with sessions.begin() as quick:
            happen(quick, 2, 2)
            event_store.assign_positions(quick, {2: 2})
        assert reader.read_on() == [(1, "learner2.0"), (2, "learner2.1")]
        event_store.assign_positions(slow, {1: 2})
        reader.read_on()

    assert reader.read_on()[2:] == [(3, "learner1.0"), (4, "learner1.1")]


def test_whoever_took_a_place_first_commits_first(postgres_world):
    sessions = postgres_world.sessions
    reader = Reader(sessions)

    def other():
        with sessions.begin() as session:
            happen(session, 1)
            event_store.assign_positions(session, {1: 1})

    with Breakpoint(sessions, "INSERT INTO feed") as halt:
        first = Side(lambda: take(sessions, 2))
        halt.until_reached()
        second = Side(other)
        assert reader.read_on() == []
        assert second.is_running
        halt.go_on()
        first.join()
        second.join()

    assert reader.read_on() == [(1, "learner2.0"), (2, "learner1.0")]


def take(sessions, batch_id):
    with sessions.begin() as session:
        happen(session, batch_id)
        event_store.assign_positions(session, {batch_id: 1})


def test_a_transaction_that_fails_leaves_no_gap(sessions):
    def fail():
        with sessions.begin() as session:
            happen(session, 1)
            event_store.assign_positions(session, {1: 1})
            raise Exception("after all was written")

    with pytest.raises(Exception, match="after all was written"):
        fail()
    take(sessions, 2)

    assert Reader(sessions).read_on() == [(1, "learner2.0")]


def test_what_is_done_is_in_the_feed_already(world):
    world.course()
    world.ask(request("ada"))

    world.work()

    assert [event.username for event in world.events()] == ["ada"]


# --- history ------------------------------------------------------------------------------


def history(world, username="ada"):
    with world.sessions.read() as session:
        newest = enrollment_views.newest_event(session, username, COURSE)
        return [] if newest is None else event_store.history(session, newest)


def test_who_was_never_enrolled_has_no_history(world):
    world.course()

    assert history(world) == []


def test_the_history_of_one_enrollment_is_told_from_its_beginning(world):
    world.course(modes=["audit", "verified"])
    world.batch_rows = 2
    world.send(
        [
            row("ada"),
            row("bob"),
            row("ada", mode="verified"),
            row("ada", is_active=False),
            row("ada"),
        ]
    )
    world.work()

    told = history(world)

    assert [event.kind for event in told] == [
        ChangeKind.CREATED,
        ChangeKind.MODE_CHANGED,
        ChangeKind.DEACTIVATED,
        ChangeKind.REACTIVATED,
    ]
    assert [event.line for event in told] == [2, 4, 5, 6]
    assert {event.username for event in told} == {"ada"}


def test_the_history_follows_the_changes_not_the_order_of_taking_in(world):
    world.course(modes=["audit", "verified"])
    paid = world.send([row("ada", mode="verified")], hours_ago=1)
    (single,) = world.ask(request("ada"))

    world.deliver(*world.batch_ids(single), *world.batch_ids(paid))

    assert [event.kind for event in history(world)] == [
        ChangeKind.CREATED,
        ChangeKind.MODE_CHANGED,
    ]
    assert [event.position for event in history(world)] == [1, 2]


def test_of_a_long_history_the_newest_are_told(world, monkeypatch):
    monkeypatch.setattr(event_store, "MAX_HISTORY", 3)
    world.course()
    world.send([row("ada", is_active=n % 2 == 0) for n in range(7)])
    world.work()

    assert [event.position for event in history(world)] == [5, 6, 7]


def test_the_feed_shows_the_state_before_and_after(world):
    world.course(modes=["audit", "verified"])
    world.ask(request("ada", requested_at=None), hours_ago=1)
    world.ask(request("ada", mode="verified"))
    world.work()

    first, second = world.events()

    assert (first.before, first.after) == (None, {"mode": "audit", "is_active": True})
    assert second.before == first.after
    assert second.after == {"mode": "verified", "is_active": True}
    assert hours_ago(0.1) < first.at <= datetime.now(UTC)
