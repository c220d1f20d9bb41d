"""A worker's host vanishes at any packet of a batch: its locks are free again within seconds."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import psycopg
import pytest
from sqlalchemy.engine import make_url

from enrollment.domain.errors import DatabaseUnavailable
from enrollment.storage.engine.engines import TRANSACTION_TIMEOUT_MS
from enrollment.storage.engine.sessions import sessions_for
from tests.support.in_process_service import World, row
from tests.support.service_processes import PATIENCE, wait_until
from tests.support.silent_cut import SilentCut
from worker.processing.processor import Processor

#: Cuts at least: a batch is claimed, loaded, written and committed in more packets than these.
MIN_CUTS = 10
#: Rows of each file: its course has a seat limit, so its row is locked from the beginning.
ROWS = 3

OPEN_TRANSACTIONS = """
SELECT client_port, state, wait_event FROM pg_stat_activity
WHERE client_port = ANY(%s) AND xact_start IS NOT NULL
"""


@pytest.fixture
def world(url) -> Iterator[World]:
    sessions = sessions_for(url)
    made = World(sessions)
    yield made
    made.close()
    sessions.dispose()


def send_file(world, number):
    """Sends a file for a course of its own; returns its batch."""
    course = f"course-v1:Cut+C{number}+2026"
    world.course(course, capacity=100)
    (batch,) = world.batch_ids(world.send([row(f"u{number}-{n}", course) for n in range(ROWS)]))
    return batch


def process_through(cut, url, batch, server_timeout=1.5):
    """Processes a batch; the first connection is made before chunks are counted."""
    there = make_url(url).set(port=cut.port).render_as_string(hide_password=False)
    sessions = sessions_for(there, pool_size=2, server_timeout=server_timeout)
    try:
        with sessions.read() as session:
            session.connection()
        cut.arm()
        Processor(sessions=sessions).process(batch)
    finally:
        sessions.dispose()


def is_refused(cut, url, batch):
    try:
        process_through(cut, url, batch)
    except DatabaseUnavailable:
        return True
    return False


def chunks_of_a_batch(world, server, url):
    with SilentCut(server.port, None) as whole:
        process_through(whole, url, send_file(world, 0), server_timeout=PATIENCE)
        return whole.chunks


@pytest.mark.slow
def test_a_host_that_vanishes_at_any_packet_gives_its_locks_back(world, server, url, other):
    chunks = chunks_of_a_batch(world, server, url)
    places = [(after, without) for after in range(1, chunks + 1) for without in (False, True)]
    batches = [send_file(world, number) for number in range(1, len(places) + 1)]
    with ExitStack() as opened:
        cuts = [
            opened.enter_context(SilentCut(server.port, after, without_sync=without))
            for after, without in places
        ]
        with ThreadPoolExecutor(len(cuts)) as pool:
            refused = list(pool.map(is_refused, cuts, [url] * len(cuts), batches))
        ports = [port for cut in cuts for port in cut.client_ports]

        # the last cuts come after the commit
        cut_off = [cut.is_cut and failed for cut, failed in zip(cuts, refused, strict=True)]
        assert sum(cut_off) > MIN_CUTS
        held = other.execute(OPEN_TRANSACTIONS, [ports]).fetchall()
        # the case that no time limit of the server covers: a pipeline without its end
        assert ("active", "ClientRead") in [(state, event) for _, state, event in held]

        wait_until(lambda: not other.execute(OPEN_TRANSACTIONS, [ports]).fetchall())
    world.work()
    world.check()
    assert not world.waiting()


def test_where_the_server_can_it_limits_whole_transactions(url):
    limited = sessions_for(url, pool_size=1, transaction_timeout_ms=TRANSACTION_TIMEOUT_MS)
    try:
        with limited.read() as session:
            driver: psycopg.Connection = session.connection().connection.driver_connection
            if driver.info.server_version < 170000:
                pytest.skip("transaction_timeout is of PostgreSQL 17")
            (limit,) = driver.execute("SHOW transaction_timeout").fetchone()
    finally:
        limited.dispose()
    assert limit == "1min"
