"""The rows that a caller has pending are counted by a bounded query, at most once a second."""

import asyncio

import pytest

from api_gateway.database import Database
from api_gateway.http.problems import Problem
from api_gateway.intake.pending_rows import PendingRows
from enrollment.domain.codes import Lane
from enrollment.storage.queue import open_files
from tests.support.in_process_service import ADMIN, SERVER, request, row
from tests.support.statements import recorded_statements


def rows(number):
    return [row(f"learner{n}") for n in range(number)]


def pending(world, caller=ADMIN):
    with world.sessions.read() as session:
        return open_files.count_pending_rows(session, caller.name)


def test_what_has_no_outcome_is_pending(world):
    world.batch_rows = 2
    world.course()
    assert pending(world) == 0
    first = world.send(rows(7))
    world.send(rows(3), lane=Lane.INTERACTIVE)
    world.send(rows(5), caller=SERVER)
    world.ask(request("ada"), caller=ADMIN)

    assert (pending(world), pending(world, SERVER)) == (10, 5)
    world.one_at_a_time()
    world.deliver(world.batch_ids(first)[0])
    assert pending(world) == 8
    world.work()
    assert (pending(world), pending(world, SERVER)) == (0, 0)


def test_parked_and_cancelled_files_count_as_long_as_they_are_open(world):
    world.course()
    world.send(rows(2))
    world.work()
    world.send(rows(4))

    assert pending(world) == 4


def test_the_query_reads_one_index_and_no_table_from_its_beginning(postgres_world):
    query = open_files._PENDING.params(caller="key:x")
    with postgres_world.sessions.read() as session:
        connection = session.connection()
        text = query.compile(connection, compile_kwargs={"literal_binds": True})
        connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
        plan = "\n".join(connection.exec_driver_sql(f"EXPLAIN {text}").scalars())

    assert plan.count("ix_batch_waiting") == 2
    assert "Seq Scan" not in plan


class Asking:
    """Checks of several requests, on a clock that a test moves."""

    def __init__(self, world, limit):
        self.now = 0.0
        self.world = world
        self.database = Database(world.sessions)
        self.pending = PendingRows(self.database, limit, clock=lambda: self.now)

    def at_once(self, *callers):
        """The errors of requests that come at the same time."""

        async def ask():
            checks = [self.pending.check(caller) for caller in callers]
            return await asyncio.gather(*checks, return_exceptions=True)

        return asyncio.run(ask())


@pytest.fixture
def asking(world):
    made = Asking(world, 4)
    yield made
    made.database._pool.shutdown(wait=True)


def test_who_has_too_many_rows_pending_is_told_the_limit(asking):
    asking.world.send(rows(4))

    error, other = asking.at_once(ADMIN, SERVER)

    assert isinstance(error, Problem)
    assert (error.status, error.code) == (429, "quota_exceeded")
    assert "ENROLL_MAX_PENDING_ROWS_PER_CALLER" in error.detail
    assert int(error.headers["Retry-After"]) >= 1
    assert other is None


def test_a_caller_is_counted_once_a_second(asking):
    asking.world.send(rows(3))
    with recorded_statements(asking.world.sessions.engine) as seen:
        assert asking.at_once(*[ADMIN] * 50) == [None] * 50
        asking.now = 0.9
        assert asking.at_once(ADMIN) == [None]
        counted = [text for text in seen if "UNION ALL" in text]
        assert len(counted) == 1
        asking.now = 1.0
        asking.at_once(ADMIN)
        assert len([text for text in seen if "UNION ALL" in text]) == 2
