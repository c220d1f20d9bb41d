"""Lists of submissions by state, whose pages come from different queries, are parts of the list."""

from collections.abc import Iterable
from itertools import combinations

import pytest

from api_gateway.status import queries
from enrollment.domain.codes import State
from enrollment.storage import cancellation
from enrollment.storage.engine.sessions import database_now
from enrollment.storage.views import submission_views
from enrollment.storage.views.submission_views import SubmissionPageKey
from tests.support.in_process_service import ADMIN, SERVER, request, row
from tests.support.statements import recorded_statements

SUBSETS = [some for number in range(1, 5) for some in combinations(State, number)]


def cancel(world, submission_id):
    with world.sessions.begin() as session:
        now = database_now(session)
        cancellation.request_cancel(session, submission_id, None, now=now)


@pytest.fixture
def busy(world):
    """A world with singles and files of one caller in every state, and some of another's."""
    world.course()
    world.batch_rows = 1
    world.one_at_a_time()
    done = [*world.ask(request("ada"), request("bob")), world.send([row("eve")], caller=SERVER)]
    world.work()
    (cancelled,) = world.ask(request("eve"))
    file = world.send([row("eve"), row("bob")], caller=SERVER)
    cancel(world, cancelled)
    cancel(world, file)
    world.work()
    running = world.send([row("ada"), row("bob")], caller=SERVER)
    world.deliver(*world.batch_ids(running)[:1])
    world.ask(request("ann"), request("amy"))
    world.ask(request("ann"), caller=ADMIN)
    world.send([row("ann")], caller=SERVER)
    assert len(done) == 3
    return world


def listed(world, states: Iterable[State], limit: int):
    """Returns ids and states of all pages."""
    found, after = [], None
    while True:
        with world.sessions.read() as session:
            page = submission_views.page(
                session, SERVER.name, states=states, after=after, limit=limit
            )
            page = queries.complete_singles(session, page)
        found += [(one.id, one.state) for one in page]
        if len(page) < limit:
            return found
        after = SubmissionPageKey(page[-1].received_at, page[-1].id)


@pytest.mark.parametrize("states", SUBSETS, ids=" ".join)
@pytest.mark.parametrize("most_waiting", [10_000, 0])
def test_the_list_of_states_is_the_part_of_the_list_in_these_states(
    busy, monkeypatch, states, most_waiting
):
    monkeypatch.setattr(submission_views, "MAX_WAITING_BATCHES", most_waiting)
    everything = listed(busy, (), 100)

    assert {state for _, state in everything} == set(State)
    assert listed(busy, states, 2) == [one for one in everything if one[1] in states]


def listed_of_all(world, state: State | None, limit: int):
    """Returns ids and states of all pages of the list of all callers."""
    found, after = [], None
    while True:
        with world.sessions.read() as session:
            page = submission_views.page_of_all(session, state=state, after=after, limit=limit)
            page = queries.complete_singles(session, page)
        found += [(one.id, one.state) for one in page]
        if len(page) < limit:
            return found
        after = SubmissionPageKey(page[-1].received_at, page[-1].id)


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("most_waiting", [10_000, 0])
def test_the_list_of_all_callers_is_complete_in_each_state(busy, monkeypatch, state, most_waiting):
    monkeypatch.setattr(submission_views, "MAX_WAITING_BATCHES", most_waiting)
    everything = listed_of_all(busy, None, 100)

    assert len(everything) > len(listed(busy, (), 100))
    assert listed_of_all(busy, state, 2) == [one for one in everything if one[1] is state]


def test_a_long_queue_of_all_callers_is_read_by_id(busy, monkeypatch):
    # by time no index has it: all submissions would be read
    monkeypatch.setattr(submission_views, "MAX_WAITING_BATCHES", 0)
    with recorded_statements(busy.sessions.engine) as seen, busy.sessions.read() as session:
        submission_views.page_of_all(session, state=State.QUEUED, after=None, limit=2)
    pages = [statement for statement in map(str, seen) if "ORDER BY" in statement]

    assert len(pages) == 2
    assert all("ORDER BY submission.id DESC" in statement for statement in pages)


def test_a_page_takes_as_many_statements_for_many_singles_as_for_one(world):
    world.course()
    for n in range(5):
        world.ask(request(f"a{n}"))
    world.work()

    def page_of(limit):
        with recorded_statements(world.sessions.engine) as seen, world.sessions.read() as session:
            page = submission_views.page(session, SERVER.name, states=(), after=None, limit=limit)
            assert len(queries.complete_singles(session, page)) == limit
        return len(seen)

    assert page_of(1) == page_of(5) == 2
