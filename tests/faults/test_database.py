"""PostgreSQL restarted, cut off, locked, full, exhausted: 503 or a later retry, never a false 202."""

import os
import signal
from contextlib import contextmanager, suppress

import pytest
from sqlalchemy import text
from sqlalchemy.engine import make_url
from structlog.testing import capture_logs

from enrollment.domain.errors import Conflict, DatabaseUnavailable
from enrollment.storage import events
from enrollment.storage.engine import engines
from enrollment.storage.engine.sessions import sessions_for
from tests.fault_lab.stack.proxy import Proxy
from tests.fault_lab.stack.proxy_modes import (
    COMMITS,
    BlackHole,
    CutBeforeReply,
    CutBeforeRequest,
    Pass,
)
from tests.support.breakpoints import Breakpoint, Side
from tests.support.gateway import AUDIT
from tests.support.outage_client import assert_unavailable
from tests.support.service_processes import wait_until

#: Statements that lock what work needs, in the order in which a batch locks it.
ROWS = "SELECT * FROM {} FOR UPDATE"
END_OF_FEED = f"SELECT pg_advisory_xact_lock({events.POSITIONS_LOCK})"


@pytest.fixture
def wire(server):
    """The proxy between the gateway and its database."""
    with Proxy("127.0.0.1", server.port) as made:
        yield made


@pytest.fixture
def far(start, wire, url):
    """A client of a gateway behind the proxy."""
    return start(make_url(url).set(port=wire.port).render_as_string())


def end(server, how):
    """Stops the server: at once, as after a crash, or after closing all sessions."""
    os.kill(server.pid, how)
    server._bury()


def sessions_of_the_service(other):
    return [
        pid
        for (pid,) in other.execute(
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database()"
            " AND application_name = 'enroll'"
        )
    ]


# --- restarted ----------------------------------------------------------------------------


@pytest.mark.parametrize("how", [signal.SIGQUIT, signal.SIGINT], ids=["immediate", "fast"])
def test_while_it_is_down_nobody_hears_202_and_after_it_nobody_hears_503(desk, server, how):
    assert desk.ask().status_code == 202
    desk.gateway.work()
    end(server, how)

    assert_unavailable(desk.ask())
    assert_unavailable(desk.hand_in())
    assert not desk.is_ready

    server.start()
    assert desk.is_ready
    refused = desk.refused
    for _ in range(5):
        assert desk.ask().status_code == 202
        assert desk.hand_in().status_code == 202
    assert desk.refused == refused
    desk.settle()


def test_an_outage_is_logged_once_at_each_end(desk, server):
    with capture_logs() as logs:
        end(server, signal.SIGQUIT)
        for _ in range(2):
            assert_unavailable(desk.ask())
            assert not desk.is_ready
        server.start()
        assert desk.is_ready
        assert desk.ask().status_code == 202

    ends = [record for record in logs if record["event"].startswith("database.")]
    assert [(record["event"], record["log_level"]) for record in ends] == [
        ("database.unreachable", "error"),
        ("database.reachable_again", "info"),
    ]
    desk.settle()


def test_a_restart_that_nobody_met_costs_no_request(desk, server):
    for _ in range(3):
        with desk.asking(sides=3):
            wait_until(lambda: desk.accepted >= 10)
        end(server, signal.SIGQUIT)
        server.start()

        assert desk.ask().status_code == 202
    assert desk.refused == 0
    desk.settle()


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGQUIT, signal.SIGINT], ids=["immediate", "fast"])
def test_restarts_under_load_lose_nothing_and_do_nothing_twice(desk, server, how):
    with desk.asking():
        for _ in range(3):
            accepted, refused = desk.accepted, desk.refused
            wait_until(lambda at=accepted: desk.accepted > at + 20)
            end(server, how)
            wait_until(lambda at=refused: desk.refused > at)
            server.start()
    desk.settle()


def test_sessions_that_are_ended_under_load_lose_nothing(desk, other):
    ended = 0
    with desk.asking():
        while ended < 20:
            accepted = desk.accepted
            wait_until(lambda at=accepted: desk.accepted > at)
            for pid in sessions_of_the_service(other)[:2]:
                ended += 1
                other.execute("SELECT pg_terminate_backend(%s)", [pid])
    desk.settle()


# --- silent -------------------------------------------------------------------------------


@pytest.fixture
def impatient(url, wire):
    """Sessions behind the proxy with short time-outs."""
    there = make_url(url).set(port=wire.port).render_as_string(hide_password=False)
    made = sessions_for(there, pool_size=1, server_timeout=1.0)
    yield made
    made.dispose()


def test_a_server_that_is_there_and_says_nothing_is_given_up(impatient, wire):
    def look():
        with impatient.begin() as session:
            session.execute(text("SELECT 1"))
            wire.set(BlackHole())
            session.execute(text("SELECT 2"))

    with pytest.raises(DatabaseUnavailable):
        look()
    wire.set(Pass())
    with impatient.begin() as session:
        assert session.scalar(text("SELECT 3")) == 3


# --- cut off ------------------------------------------------------------------------------


def test_a_single_whose_commit_was_not_heard_of_is_no_202_and_is_there_when_asked_again(far, wire):
    wire.set(CutBeforeReply(COMMITS))
    assert_unavailable(far.ask())
    assert wire.seen.replies_swallowed == 1

    wire.set(Pass())
    (key,) = far.told
    again = far._send(key, far._sent[key])
    assert again.status_code == 202
    assert again.headers["idempotency-replayed"] == "true"
    far.settle()


def test_a_single_whose_commit_never_arrived_is_taken_in_when_asked_again(far, wire):
    wire.set(CutBeforeRequest(COMMITS))
    assert_unavailable(far.ask())
    wire.set(Pass())
    (key,) = far.told
    assert "idempotency-replayed" not in far._send(key, far._sent[key]).headers
    far.settle()


@pytest.mark.parametrize("mode", [CutBeforeReply(COMMITS), CutBeforeRequest(COMMITS)])
def test_a_file_that_is_cut_off_as_it_is_published_is_taken_in_once(far, wire, mode):
    with Breakpoint(far.gateway.sessions, "UPDATE submission SET") as publishing:
        handing_in = Side(far.hand_in)
        publishing.until_reached()
        wire.set(mode)
        publishing.go_on()
        wait_until(lambda: wire.seen.replies_swallowed + wire.seen.requests_cut)
        wire.set(Pass())
        assert_unavailable(handing_in.join())
    far.settle()


@pytest.mark.parametrize("mode", [CutBeforeReply(COMMITS), CutBeforeRequest(COMMITS)])
def test_a_worker_that_does_not_hear_of_its_commit_does_nothing_twice(far, wire, mode):
    far.ask()
    far.hand_in()
    numbers = [waiting.id for waiting in far.gateway.waiting()]
    wire.set(mode)
    for number in numbers:
        with pytest.raises(DatabaseUnavailable):
            far.gateway.processor.process(number)
    wire.set(Pass())
    for number in numbers:
        far.gateway.processor.process(number)
    far.settle()


def test_a_worker_that_is_cut_off_in_the_middle_leaves_nothing_half_done(far, wire):
    far.hand_in()
    (waiting,) = far.gateway.waiting()
    wire.set(CutBeforeReply(b"INSERT INTO event"))
    with pytest.raises(DatabaseUnavailable):
        far.gateway.processor.process(waiting.id)
    assert wire.seen.replies_swallowed == 1
    wire.set(Pass())
    assert far.settle().events()


@pytest.mark.usefixtures("impatient")
def test_a_server_that_is_there_and_says_nothing_keeps_nobody_waiting(desk, server):
    desk.ask()
    server.hold()
    try:
        assert_unavailable(desk.ask())
        assert not desk.is_ready
    finally:
        server.release()
    desk.asks_until(202)
    desk.settle()


# --- locked -------------------------------------------------------------------------------


@contextmanager
def held(other, statement):
    """Holds a lock in another session."""
    with other.transaction(force_rollback=True):
        other.execute(statement)
        yield


@pytest.mark.usefixtures("impatient")
def test_where_the_tables_are_locked_nobody_waits_for_long(start, url, other):
    desk = start(url)
    with held(other, "LOCK TABLE batch, submission IN ACCESS EXCLUSIVE MODE"):
        assert_unavailable(desk.ask())
        assert_unavailable(desk.hand_in())
        assert not desk.is_ready
    assert desk.ask().status_code == 202
    desk.settle()


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("locked", [*map(ROWS.format, ("course", "batch")), END_OF_FEED])
def test_a_row_that_work_needs_keeps_work_waiting_and_nobody_who_asks(start, url, other, locked):
    desk = start(url)
    desk.gateway.course(AUDIT, course_id=desk.course_id, capacity=10)
    assert desk.ask().status_code == 202
    (waiting,) = desk.gateway.waiting()
    with held(other, locked):
        with suppress(DatabaseUnavailable, Conflict):
            assert desk.gateway.processor.process(waiting.id).batch_ids == ()
        assert desk.ask().status_code == 202
        assert desk.is_ready
    desk.settle()


def test_who_loses_a_deadlock_goes_again(start, url, other):
    other.execute(f"ALTER DATABASE {make_url(url).database} SET deadlock_timeout = '500ms'")
    other.execute(
        "SET deadlock_timeout = '60s'"
    )  # the service finds the deadlock first, and retries
    desk = start(url)
    desk.gateway.course(AUDIT, course_id=desk.course_id, capacity=100)
    desk.ask()
    with capture_logs() as logs:
        with other.transaction():
            other.execute(END_OF_FEED)
            working = Side(desk.gateway.work)
            wait_until(lambda: waits_for_a_lock(other))
            other.execute("SELECT * FROM course FOR UPDATE")
        working.join()
    again = [record for record in logs if record["event"] == "batch.judged_again"]
    assert "deadlock detected" in again[0]["because"]
    assert desk.settle().events()


def waits_for_a_lock(other):
    return other.execute(
        "SELECT 1 FROM pg_stat_activity WHERE datname = current_database()"
        " AND wait_event_type = 'Lock'"
    ).fetchone()


def test_a_worker_that_stood_still_in_its_transaction_is_ended_and_another_goes_on(
    start, url, other, monkeypatch
):
    monkeypatch.setattr(engines, "IDLE_IN_TRANSACTION_MS", 100)
    desk = start(url)
    desk.ask()
    (waiting,) = desk.gateway.waiting()
    with Breakpoint(desk.gateway.sessions, "INSERT INTO feed") as standing:
        working = Side(lambda: desk.gateway.processor.process(waiting.id))
        standing.until_reached()
        wait_until(lambda: not has_open_transactions(other))
        standing.go_on()
        with pytest.raises(DatabaseUnavailable):
            working.join()
    desk.settle()


def has_open_transactions(other):
    """Whether a transaction is idle, apart from the one that holds attempt locks."""
    return other.execute(
        "SELECT 1 FROM pg_stat_activity WHERE datname = current_database()"
        " AND application_name = 'enroll' AND state = 'idle in transaction'"
        " AND query NOT LIKE '%pg_try_advisory_xact_lock%'"
    ).fetchone()
