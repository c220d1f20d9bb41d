"""Singles are kept together, each for itself, and each key stands for one request."""

import asyncio
from functools import partial

import pytest
from sqlalchemy import func, select

from api_gateway.database import Database
from api_gateway.intake import group_commit
from api_gateway.intake.group_commit import GroupCommitter
from enrollment.domain.codes import Code, Lane
from enrollment.domain.errors import DatabaseUnavailable, KeyReused, Overloaded
from enrollment.storage.engine.engines import make_engine
from enrollment.storage.engine.sessions import Sessions
from enrollment.storage.tables import BatchRow, IdempotencyRow, SubmissionRow
from intake_store.group_store import SingleRequest
from tests.support.breakpoints import meeting, together
from tests.support.in_process_service import ADA, SERVER, World, request

#: No database can keep it, nor can it be written as JSON.
UNSTORABLE = "ada\ud800"


def asking(user="ada", *, key=None, fingerprint=b"f", caller=SERVER):
    return SingleRequest(caller, request(user), 0.0, None, key, fingerprint)


def count(world, table):
    with world.sessions.read() as session:
        return session.scalar(select(func.count()).select_from(table))


def accept_all(world, *askings):
    """What comes of singles that arrive at once: receipts, or what went wrong."""

    async def accept():
        taker = GroupCommitter(records, world.dispatcher, monotonic=lambda: 0.0)
        return await asyncio.gather(*map(taker.accept, askings), return_exceptions=True)

    records = Database(world.sessions, threads=2)
    try:
        return asyncio.run(accept())
    finally:
        records.close()


# --- group commit -------------------------------------------------------------------------


def test_singles_that_arrive_together_share_a_batch_and_each_has_its_own_outcome(world):
    world.course(capacity=1)

    receipts = accept_all(world, *(asking(f"learner{n}") for n in range(20)))
    world.work()

    assert {receipt.batch_id for receipt in receipts} == set(world.batch_ids(receipts[0][0]))
    assert count(world, BatchRow) == 1
    codes = [world.answer(receipt.submission_id)[0] for receipt in receipts]
    assert codes == [Code.ENROLLED] + [Code.REFUSED] * 19
    world.check()


def test_whoever_is_stored_is_rung_for(world):
    (receipt,) = accept_all(world, asking())

    assert world.dispatcher._inbox.get_nowait()[:2] == (receipt.batch_id, Lane.INTERACTIVE)


def test_what_waits_beyond_one_commit_goes_into_the_next(world, monkeypatch):
    monkeypatch.setattr(group_commit, "MAX_GROUP_REQUESTS", 3)
    world.course()

    receipts = accept_all(world, *(asking(f"learner{n}") for n in range(8)))
    world.work()

    assert count(world, BatchRow) == 3
    assert {world.answer(r.submission_id)[0] for r in receipts} == {Code.ENROLLED}
    world.check()


def test_one_that_cannot_be_stored_never_fails_the_others(world):
    world.course()

    ada, broken, bob = accept_all(
        world, asking("ada", key="a"), asking(UNSTORABLE, key="b"), asking("bob", key="c")
    )
    world.work()

    assert isinstance(broken, Exception)
    assert world.answer(ada.submission_id) == world.answer(bob.submission_id)
    assert count(world, SubmissionRow) == count(world, IdempotencyRow) == 2
    world.check()


def test_more_than_can_wait_are_turned_away(world, monkeypatch):
    monkeypatch.setattr(group_commit, "MAX_PENDING_REQUESTS", 2)

    results = accept_all(world, *(asking(f"learner{n}") for n in range(5)))

    assert [isinstance(result, Overloaded) for result in results] == [False] * 2 + [True] * 3
    assert count(world, SubmissionRow) == 2


@pytest.mark.parametrize(
    "url", ["sqlite:////no/such/folder/x.sqlite3", "postgresql+psycopg://nobody@127.0.0.1:1/x"]
)
def test_without_a_database_everybody_hears_so(url):
    world = World(Sessions(make_engine(url)))

    results = accept_all(world, asking("ada"), asking("bob"))

    assert [type(result) for result in results] == [DatabaseUnavailable] * 2


def test_who_goes_away_is_stored_all_the_same(world):
    async def leave():
        taker = GroupCommitter(records, world.dispatcher)
        waiting = [asyncio.ensure_future(taker.accept(asking(f"learner{n}"))) for n in range(2)]
        await asyncio.sleep(0)
        waiting[0].cancel()
        return await asyncio.gather(*waiting, return_exceptions=True)

    records = Database(world.sessions)
    gone, receipt = asyncio.run(leave())
    records.close()

    assert isinstance(gone, asyncio.CancelledError)
    assert receipt.batch_id is not None
    assert count(world, SubmissionRow) == 2


# --- Idempotency-Keys ---------------------------------------------------------------------


def test_the_same_request_again_is_the_same_submission(world):
    world.course()
    (first,) = accept_all(world, asking(key="k"))
    world.work()
    (again,) = accept_all(world, asking(key="k"))

    assert (again.submission_id, again.received_at) == (first.submission_id, first.received_at)
    assert (first.batch_id is None, again.batch_id) == (False, None)
    assert count(world, SubmissionRow) == count(world, BatchRow) == 1
    world.check()


def test_another_request_under_the_same_key_is_refused_and_not_stored(world):
    accept_all(world, asking(key="k"))

    (reused, other) = accept_all(world, asking("bob", key="k", fingerprint=b"g"), asking("eve"))

    assert isinstance(reused, KeyReused)
    assert other.batch_id is not None
    assert count(world, SubmissionRow) == 2
    assert count(world, IdempotencyRow) == 1


def test_keys_of_different_callers_are_different_keys(world):
    ours, theirs = accept_all(world, asking(key="k"), asking(key="k", caller=ADA, fingerprint=b"g"))

    assert ours.submission_id != theirs.submission_id
    assert count(world, IdempotencyRow) == 2


def test_in_one_group_the_first_counts(world):
    first, again, reused = accept_all(
        world, asking(key="k"), asking(key="k"), asking("bob", key="k", fingerprint=b"g")
    )

    assert again.submission_id == first.submission_id
    assert isinstance(reused, KeyReused)
    assert count(world, SubmissionRow) == 1


def test_two_gateways_at_once_store_it_once(world):
    stored = together(*[partial(world.take_in, asking(key="k"))] * 2)

    assert_stored_once(world, stored)


def test_two_gateways_that_both_have_begun_store_it_once(postgres_world):
    world = postgres_world

    with meeting(world.sessions, "INSERT INTO idempotency"):
        stored = together(*[partial(world.take_in, asking(key="k"))] * 2)

    assert_stored_once(world, stored)


def assert_stored_once(world, stored):
    receipts = [one.results[0] for one in stored]
    assert len({receipt.submission_id for receipt in receipts}) == 1
    assert sorted(receipt.batch_id is None for receipt in receipts) == [False, True]
    assert count(world, SubmissionRow) == count(world, BatchRow) == 1


def test_two_gateways_with_the_same_keys_in_other_orders_both_come_through(postgres_world):
    world = postgres_world
    keys = [f"k{n}" for n in range(6)]
    there = [asking(key=key) for key in keys]

    with meeting(world.sessions, "INSERT INTO idempotency"):
        stored = together(
            lambda: world.take_in(*there, asking(key="mine")),
            lambda: world.take_in(asking(key="ours"), *reversed(there)),
        )

    first, second = (one.results for one in stored)
    assert [r.submission_id for r in first[:6]] == [r.submission_id for r in reversed(second[1:])]
    assert count(world, SubmissionRow) == 8


def test_what_was_not_stored_keeps_no_key(world):
    (broken,) = accept_all(world, asking(UNSTORABLE, key="k"))
    (receipt,) = accept_all(world, asking("ada", key="k", fingerprint=b"g"))

    assert isinstance(broken, Exception)
    assert receipt.batch_id is not None
