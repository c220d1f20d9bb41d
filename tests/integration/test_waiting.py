"""Who waits for an answer is woken by the workers, or by asking the records."""

import asyncio

import pytest
from sqlalchemy import delete

from api_gateway import waiting
from api_gateway.records import Records
from api_gateway.waiting import Waiters
from enrollment.storage import cancellation
from enrollment.storage.tables import SubmissionRow
from enrollment.waking import Answered, Bell, decode, encode
from tests.support.halts import PATIENCE
from tests.support.world import hours_ago, request, row

#: Whoever is not woken fails the test.
LONGER = 10 * PATIENCE
NOWHERE = "redis://127.0.0.1:1/0"


def with_waiters(world, redis_url, scenario):
    """Run a scenario on waiters that listen and ask; what they heard."""
    heard = []

    async def run():
        waiters = Waiters(records, redis_url, heard=heard.extend)
        waiters.start()
        try:
            await asyncio.wait_for(scenario(waiters), PATIENCE)
        finally:
            await waiters.stop()

    records = Records(world.sessions, threads=2)
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
        answer = asyncio.ensure_future(waiters.until_answered(single, LONGER))
        await asyncio.to_thread(world.work)
        await answer
        assert is_answered(world, single)

    with_waiters(world, NOWHERE, scenario)


def test_who_waits_for_what_is_answered_already_is_told_so(world, single):
    world.work()

    async def scenario(waiters):
        await waiters.until_answered(single, LONGER)

    with_waiters(world, NOWHERE, scenario)


def test_who_waits_for_a_file_to_move_needs_no_redis_either(world):
    world.one_at_a_time()
    world.batch_rows = 1
    world.course()
    file = world.send([row("ada"), row("bob")])

    async def scenario(waiters):
        first = world.submission(file).mark
        move = asyncio.ensure_future(waiters.until_moved(file, first, LONGER))
        await asyncio.to_thread(world.deliver, world.batch_ids(file)[0])
        await move
        await waiters.until_moved(file, first, LONGER)  # it has moved already
        second = world.submission(file).mark
        cancelling = asyncio.ensure_future(waiters.until_moved(file, second, LONGER))
        await asyncio.to_thread(cancel, world, file)
        await cancelling

    with_waiters(world, NOWHERE, scenario)


def test_who_waits_for_a_file_that_is_no_more_is_told_so(world):
    file = world.send([row("ada")])
    mark = world.submission(file).mark
    with world.sessions.begin() as session:
        session.execute(delete(SubmissionRow))

    async def scenario(waiters):
        await waiters.until_moved(file, mark, LONGER)

    with_waiters(world, NOWHERE, scenario)


def cancel(world, file):
    with world.sessions.begin() as session:
        cancellation.request_cancel(session, file, None, now=hours_ago(0))


def test_the_wait_ends_when_its_time_is_over(world, single):
    async def scenario(waiters):
        await waiters.until_answered(single, 0.01)
        file = world.send([row("ada")])
        await waiters.until_moved(file, world.submission(file).mark, 0.01)
        assert not waiters._events

    with_waiters(world, NOWHERE, scenario)
    assert not is_answered(world, single)


def test_a_workers_bell_wakes_everybody_who_waits_for_it(world, single, redis_url, monkeypatch):
    monkeypatch.setattr(waiting, "LOOK_SECONDS", LONGER)
    file = world.send([row("bob")])
    mark = world.submission(file).mark

    async def scenario(waiters):
        await until_listening(waiters)
        waits = [
            asyncio.ensure_future(waiters.until_answered(single, LONGER)),
            asyncio.ensure_future(waiters.until_answered(single, LONGER)),
            asyncio.ensure_future(waiters.until_moved(file, mark, LONGER)),
        ]
        await asyncio.sleep(0)
        for done in world.deliver(*world.waiting()):
            assert Bell(redis_url).ring(done.batch_ids, done.submission_ids)
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
        answer = asyncio.ensure_future(waiters.until_answered(single, LONGER))
        await asyncio.sleep(0)
        waiters.wake([single + 1])
        assert not answer.done()
        waiters.wake([single])
        await answer

    with_waiters(world, redis_url, scenario)


def test_a_bell_that_cannot_be_reached_says_so():
    assert not Bell(NOWHERE).ring([1], [])


@pytest.mark.parametrize("message", [b"", b"{}", b"[]", b"7", b'{"batches":[1]}', b"\xff"])
def test_what_is_not_ours_is_not_heard(message):
    assert decode(message) is None


def test_what_is_said_is_what_is_heard(world):
    file = world.send([row("ada")])

    assert decode(encode(Answered((1, 2), (file,)))) == ((1, 2), (file,))


def test_who_comes_after_the_word_did_is_told_at_once(world, single, redis_url, monkeypatch):
    monkeypatch.setattr(waiting, "LOOK_SECONDS", LONGER)
    asked = noting_questions(monkeypatch)

    async def scenario(waiters):
        await until_listening(waiters)
        waiters._hear({"data": encode(Answered((single,), ()))})
        await waiters.until_answered(single, LONGER)

    with_waiters(world, redis_url, scenario)
    assert asked == []


def test_a_word_counts_for_a_moment_then_the_records_are_asked(
    world, single, redis_url, monkeypatch
):
    monkeypatch.setattr(waiting, "LOOK_SECONDS", LONGER)
    asked = noting_questions(monkeypatch)

    async def scenario(waiters):
        await until_listening(waiters)
        waiters._hear({"data": encode(Answered((single,), ()))})
        waiters._recent[single] -= LONGER
        await asyncio.to_thread(world.work)
        await waiters.until_answered(single, LONGER)

    with_waiters(world, redis_url, scenario)
    assert asked == [{single}]


def test_where_the_word_was_lost_the_records_are_asked_in_time(
    world, single, redis_url, monkeypatch
):
    monkeypatch.setattr(waiting, "LOOK_SECONDS", 0.05)

    async def scenario(waiters):
        await until_listening(waiters)
        await asyncio.to_thread(world.work)
        await waiters.until_answered(single, LONGER)

    with_waiters(world, redis_url, scenario)


def test_only_the_last_that_were_heard_of_are_remembered(world, monkeypatch):
    monkeypatch.setattr(waiting, "MAX_RECENT", 2)

    async def scenario(waiters):
        waiters._hear({"data": encode(Answered((1, 2, 3), ()))})
        assert list(waiters._recent) == [2, 3]

    with_waiters(world, NOWHERE, scenario)


def noting_questions(monkeypatch):
    """The batches that the records are asked for from here on."""
    asked = []
    real = waiting.batches.answered_of

    def answered_of(session, batch_ids):
        asked.append(set(batch_ids))
        return real(session, batch_ids)

    monkeypatch.setattr(waiting.batches, "answered_of", answered_of)
    return asked
