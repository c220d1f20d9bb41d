"""Who waits for an answer is woken by the workers, or by asking the records."""

import asyncio

import pytest
from sqlalchemy import delete

from api_gateway.database import Database
from api_gateway.status import waiters
from api_gateway.status.waiters import Waiters
from enrollment.runtime.completion_channel import (
    CompletionEvent,
    CompletionPublisher,
    decode_event,
    encode_event,
)
from enrollment.storage import cancellation
from enrollment.storage.tables import SubmissionRow
from tests.support.breakpoints import PATIENCE
from tests.support.in_process_service import hours_ago, request, row

#: Whoever is not woken fails the test.
LONGER = 10 * PATIENCE
NOWHERE = "redis://127.0.0.1:1/0"


def with_waiters(world, redis_url, scenario):
    """Run a scenario on waiters that listen and ask; what they heard."""
    heard = []

    async def run():
        waiters = Waiters(records, redis_url, on_completed=heard.extend)
        waiters.start()
        try:
            await asyncio.wait_for(scenario(waiters), PATIENCE)
        finally:
            await waiters.stop()

    records = Database(world.sessions, threads=2)
    asyncio.run(run())
    records.close()
    return heard


async def until_listening(waiters):
    while not waiters._connected:  # noqa: ASYNC110 (nobody else needs to know)
        await asyncio.sleep(0)


async def steps_of_the_loop(steps):
    for _ in range(steps):
        await asyncio.sleep(0)


@pytest.fixture
def single(world):
    world.course()
    (submission_id,) = world.ask(request("ada"))
    return world.batch_ids(submission_id)[0]


def is_answered(world, number):
    return number not in world.waiting()


def test_while_redis_is_away_the_records_are_asked(world, single):
    async def scenario(waiters):
        answer = asyncio.ensure_future(waiters.wait_for_batch(single, LONGER))
        await asyncio.to_thread(world.work)
        await answer
        assert is_answered(world, single)

    with_waiters(world, NOWHERE, scenario)


def test_who_waits_for_what_is_answered_already_is_told_so(world, single):
    world.work()

    async def scenario(waiters):
        await waiters.wait_for_batch(single, LONGER)

    with_waiters(world, NOWHERE, scenario)


def test_who_waits_for_a_file_to_move_needs_no_redis_either(world):
    world.one_at_a_time()
    world.batch_rows = 1
    world.course()
    file = world.send([row("ada"), row("bob")])

    async def scenario(waiters):
        first = world.submission(file).progress_mark
        move = asyncio.ensure_future(waiters.wait_for_progress(file, first, LONGER))
        await asyncio.to_thread(world.deliver, world.batch_ids(file)[0])
        await move
        await waiters.wait_for_progress(file, first, LONGER)  # it has moved already
        second = world.submission(file).progress_mark
        cancelling = asyncio.ensure_future(waiters.wait_for_progress(file, second, LONGER))
        await asyncio.to_thread(cancel, world, file)
        await cancelling

    with_waiters(world, NOWHERE, scenario)


def test_who_waits_for_a_file_that_is_no_more_is_told_so(world):
    file = world.send([row("ada")])
    mark = world.submission(file).progress_mark
    with world.sessions.begin() as session:
        session.execute(delete(SubmissionRow))

    async def scenario(waiters):
        await waiters.wait_for_progress(file, mark, LONGER)

    with_waiters(world, NOWHERE, scenario)


def test_who_waits_for_the_end_of_a_file_is_woken_by_nothing_else(world, redis_url, monkeypatch):
    monkeypatch.setattr(waiters, "POLL_INTERVAL_SECONDS", LONGER)
    world.one_at_a_time()
    world.batch_rows = 1
    world.course()
    file = world.send([row("ada"), row("bob")])

    async def scenario(waiters):
        await until_listening(waiters)
        end = asyncio.ensure_future(waiters.wait_for_end(file, LONGER))
        for batch in world.batch_ids(file):
            move = waiters.wait_for_progress(file, world.submission(file).progress_mark, LONGER)
            move = asyncio.ensure_future(move)
            await asyncio.sleep(0)
            assert not end.done()
            (done,) = await asyncio.to_thread(world.deliver, batch)
            waiters._handle(
                {"data": encode_event(CompletionEvent(done.batch_ids, done.submission_ids))}
            )
            await move
        await end

    with_waiters(world, redis_url, scenario)


def test_who_waits_for_the_end_of_a_file_needs_no_redis(world):
    file = world.send([row("ada")])

    async def scenario(waiters):
        end = asyncio.ensure_future(waiters.wait_for_end(file, LONGER))
        await asyncio.to_thread(world.work)
        await end

    with_waiters(world, NOWHERE, scenario)


def test_a_poll_at_once_is_for_the_newcomer_alone(world, redis_url, monkeypatch):
    monkeypatch.setattr(waiters, "POLL_INTERVAL_SECONDS", LONGER)
    asked = []
    real = waiters.submissions.progress_marks

    def marks(session, ids):
        asked.append(set(ids))
        return real(session, ids)

    monkeypatch.setattr(waiters.submissions, "progress_marks", marks)
    one, other = (world.submission(world.send([row(name)])) for name in ("ada", "bob"))

    async def scenario(waiters):
        await until_listening(waiters)
        with waiters.watch(one):
            await until(lambda: asked)
            asked.clear()
            with waiters.watch(other):
                await until(lambda: asked)

    with_waiters(world, redis_url, scenario)
    assert asked == [{other.id}]


async def until(true):
    while not true():  # noqa: ASYNC110 (nobody else needs to know)
        await asyncio.sleep(0)


def cancel(world, file):
    with world.sessions.begin() as session:
        cancellation.request_cancel(session, file, None, now=hours_ago(0))


def test_the_wait_ends_when_its_time_is_over(world, single):
    async def scenario(waiters):
        await waiters.wait_for_batch(single, 0.01)
        file = world.send([row("ada")])
        await waiters.wait_for_progress(file, world.submission(file).progress_mark, 0.01)
        assert not waiters._events

    with_waiters(world, NOWHERE, scenario)
    assert not is_answered(world, single)


def test_a_workers_bell_wakes_everybody_who_waits_for_it(world, single, redis_url, monkeypatch):
    monkeypatch.setattr(waiters, "POLL_INTERVAL_SECONDS", LONGER)
    file = world.send([row("bob")])
    mark = world.submission(file).progress_mark

    async def scenario(waiters):
        await until_listening(waiters)
        waits = [
            asyncio.ensure_future(waiters.wait_for_batch(single, LONGER)),
            asyncio.ensure_future(waiters.wait_for_batch(single, LONGER)),
            asyncio.ensure_future(waiters.wait_for_progress(file, mark, LONGER)),
        ]
        await asyncio.sleep(0)
        for done in world.deliver(*world.waiting()):
            assert CompletionPublisher(redis_url).publish(done.batch_ids, done.submission_ids)
        await asyncio.gather(*waits)

    assert set(with_waiters(world, redis_url, scenario)) == {single, *world.batch_ids(file)}


@pytest.mark.parametrize("steps", range(12))
def test_the_end_is_heard_whenever_it_comes(world, redis_url, steps):
    async def scenario(waiters):
        await until_listening(waiters)
        await steps_of_the_loop(steps)
        ended, _ = await asyncio.wait([asyncio.ensure_future(waiters.stop())], timeout=PATIENCE)
        assert ended

    with_waiters(world, redis_url, scenario)


def test_an_answer_to_somebody_else_wakes_nobody(world, single, redis_url):
    async def scenario(waiters):
        await until_listening(waiters)
        answer = asyncio.ensure_future(waiters.wait_for_batch(single, LONGER))
        await asyncio.sleep(0)
        waiters.wake([single + 1])
        assert not answer.done()
        waiters.wake([single])
        await answer

    with_waiters(world, redis_url, scenario)


def test_a_bell_that_cannot_be_reached_says_so():
    assert not CompletionPublisher(NOWHERE).publish([1], [])


@pytest.mark.parametrize("message", [b"", b"{}", b"[]", b"7", b'{"batches":[1]}', b"\xff"])
def test_what_is_not_ours_is_not_heard(message):
    assert decode_event(message) is None


def test_what_is_said_is_what_is_heard(world):
    file = world.send([row("ada")])

    assert decode_event(encode_event(CompletionEvent((1, 2), (file,)))) == ((1, 2), (file,))


def test_who_comes_after_the_word_did_is_told_at_once(world, single, redis_url, monkeypatch):
    monkeypatch.setattr(waiters, "POLL_INTERVAL_SECONDS", LONGER)
    asked = noting_questions(monkeypatch)

    async def scenario(waiters):
        await until_listening(waiters)
        waiters._handle({"data": encode_event(CompletionEvent((single,), ()))})
        await waiters.wait_for_batch(single, LONGER)

    with_waiters(world, redis_url, scenario)
    assert asked == []


def test_a_word_counts_for_a_moment_then_the_records_are_asked(
    world, single, redis_url, monkeypatch
):
    monkeypatch.setattr(waiters, "POLL_INTERVAL_SECONDS", LONGER)
    asked = noting_questions(monkeypatch)

    async def scenario(waiters):
        await until_listening(waiters)
        waiters._handle({"data": encode_event(CompletionEvent((single,), ()))})
        waiters._recent[single] -= LONGER
        await asyncio.to_thread(world.work)
        await waiters.wait_for_batch(single, LONGER)

    with_waiters(world, redis_url, scenario)
    assert asked == [{single}]


def test_where_the_word_was_lost_the_records_are_asked_in_time(
    world, single, redis_url, monkeypatch
):
    monkeypatch.setattr(waiters, "POLL_INTERVAL_SECONDS", 0.05)

    async def scenario(waiters):
        await until_listening(waiters)
        await asyncio.to_thread(world.work)
        await waiters.wait_for_batch(single, LONGER)

    with_waiters(world, redis_url, scenario)


def test_only_the_last_that_were_heard_of_are_remembered(world, monkeypatch):
    monkeypatch.setattr(waiters, "MAX_RECENT", 2)

    async def scenario(waiters):
        waiters._handle({"data": encode_event(CompletionEvent((1, 2, 3), ()))})
        assert list(waiters._recent) == [2, 3]

    with_waiters(world, NOWHERE, scenario)


def noting_questions(monkeypatch):
    """The batches that the records are asked for from here on."""
    asked = []
    real = waiters.batches.completed_ids

    def completed_ids(session, batch_ids):
        asked.append(set(batch_ids))
        return real(session, batch_ids)

    monkeypatch.setattr(waiters.batches, "completed_ids", completed_ids)
    return asked
