"""Each destination has its own turn: a slow one does not hold up the jobs of others."""

import threading
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest

from enrollment.domain.destinations.records import RemoteCourse, StatesPage
from enrollment.domain.destinations.reports import DestinationReport, ReportKind, ReportState
from enrollment.storage.destinations import removal, reports
from enrollment.storage.engine.sessions import Sessions
from tests.support.in_process_service import World
from tests.support.scripted_destination import Destinations, ScriptedKind
from tests.support.service_processes import wait_until
from worker.destinations.destination_loop import DestinationLoop
from worker.destinations.reports.import_intake import ImportIntake
from worker.destinations.reports.report_loop import ReportLoop


class Slow(ScriptedKind):
    """A destination whose list comes when `over` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.asked, self.over = threading.Event(), threading.Event()

    def list_pages(
        self, courses: Sequence[str], *, place: str | None = None
    ) -> Iterator[StatesPage]:
        self.asked.set()
        self.over.wait(60)
        return iter(())

    def read_courses(self) -> Iterator[RemoteCourse]:
        return iter(())


@pytest.fixture
def destinations(sessions: Sessions, world: World) -> Iterator[Destinations]:
    made = Destinations(sessions)
    yield made
    made.delivery.clients.close()


def make_loop(destinations: Destinations, holder: str = "one") -> ReportLoop:
    return ReportLoop(
        sessions=destinations.sessions,
        clients=destinations.another_process().clients,
        intake=ImportIntake(sessions=destinations.sessions, dispatch=lambda _: None),
        holder=holder,
    )


def queue(sessions: Sessions, name: str, kind: ReportKind) -> UUID:
    report_id = uuid4()
    with sessions.begin() as session:
        now = datetime.now(UTC)
        assert reports.add(session, name, kind, report_id=report_id, now=now) is not None
    return report_id


def state_of(sessions: Sessions, name: str, report_id: UUID) -> ReportState:
    with sessions.read() as session:
        found = reports.find(session, name, report_id)
    assert found is not None
    return found.state


def test_slow_destination_does_not_hold_up_the_jobs_of_another(
    destinations: Destinations, sessions: Sessions
) -> None:
    slow = Slow()
    destinations.add("slow", slow)
    destinations.add("quick")
    of_slow = queue(sessions, "slow", ReportKind.RECONCILE)
    after_it = queue(sessions, "slow", ReportKind.PULL)
    of_quick = queue(sessions, "quick", ReportKind.RECONCILE)
    loop = make_loop(destinations)
    loop.start()
    try:
        assert slow.asked.wait(30)
        wait_until(lambda: state_of(sessions, "quick", of_quick) is ReportState.DONE)
        assert state_of(sessions, "slow", of_slow) is ReportState.RUNNING
        assert state_of(sessions, "slow", after_it) is ReportState.QUEUED
        slow.over.set()
        wait_until(lambda: state_of(sessions, "slow", after_it) is ReportState.DONE)
    finally:
        slow.over.set()
        loop.stop()


def lease(sessions: Sessions, holder: str, busy: Sequence[UUID] = ()) -> DestinationReport | None:
    now = datetime.now(UTC)
    with sessions.begin() as session:
        return reports.lease_next(
            session, holder, busy=busy, now=now, until=now + timedelta(seconds=60)
        )


def test_a_destination_has_one_job_at_a_time_of_all_processes(
    destinations: Destinations, sessions: Sessions
) -> None:
    lms = destinations.add("lms")
    first = queue(sessions, "lms", ReportKind.RECONCILE)
    second = queue(sessions, "lms", ReportKind.PULL)
    assert lease(sessions, "one", busy=[lms.id]) is None
    leased = lease(sessions, "one")
    assert leased is not None
    assert leased.id == first
    assert lease(sessions, "two") is None
    with sessions.begin() as session:
        reports.finish(session, first, "one", {}, now=datetime.now(UTC))
    leased = lease(sessions, "two")
    assert leased is not None
    assert leased.id == second


def test_two_processes_at_once_lease_one_job_of_a_destination(
    destinations: Destinations, sessions: Sessions
) -> None:
    if sessions.engine.dialect.name != "postgresql":
        pytest.skip("SQLite has one transaction that writes at a time")
    destinations.add("lms")
    queue(sessions, "lms", ReportKind.RECONCILE)
    queue(sessions, "lms", ReportKind.PULL)
    now = datetime.now(UTC)
    until = now + timedelta(seconds=60)
    with sessions.begin() as session:
        assert reports.lease_next(session, "one", now=now, until=until) is not None
        assert lease(sessions, "two") is None
    assert lease(sessions, "two") is None


def test_a_job_that_was_leased_while_its_process_ends_is_free_at_once(
    destinations: Destinations, sessions: Sessions
) -> None:
    destinations.add("lms")
    queued = queue(sessions, "lms", ReportKind.RECONCILE)
    loop = make_loop(destinations)
    loop.request_stop()
    loop._step()
    loop.stop()
    leased = lease(sessions, "two")
    assert leased is not None
    assert leased.id == queued


def test_connections_of_a_deleted_destination_are_closed(
    destinations: Destinations, sessions: Sessions
) -> None:
    kind, kept = ScriptedKind(), ScriptedKind()
    stored, other = destinations.add("lms", kind), destinations.add("kept", kept)
    delivery = destinations.another_process()
    delivery.clients.find(stored)
    delivery.clients.find(other)
    jobs = make_loop(destinations)
    jobs.clients.find(stored)
    loop = DestinationLoop(sessions, delivery)
    with sessions.begin() as session:
        assert removal.remove(session, "lms", now=datetime.now(UTC))
    loop.start()
    jobs.start()
    try:
        wait_until(lambda: kind.closed == 2)
        assert kept.closed == 0
    finally:
        loop.stop()
        jobs.stop()
    assert kept.closed == 1
