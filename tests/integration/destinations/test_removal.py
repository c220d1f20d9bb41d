"""Destinations disappear at once, and are deleted in portions; what failed is retried in portions."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Select, func, select, update

from enrollment.domain.codes import DeliveryState
from enrollment.domain.destinations.differences import Difference, DifferenceKind
from enrollment.domain.destinations.records import ApplyResult
from enrollment.domain.destinations.reports import ReportedDifference, ReportKind
from enrollment.storage.destinations import arrivals, deliveries, registry, removal, reports
from enrollment.storage.destinations.reports import MAX_REPORTS, LeaseLost
from enrollment.storage.engine.sessions import Sessions
from enrollment.storage.tables import (
    DestinationDeliveryRow,
    DestinationDifferenceRow,
    DestinationReportRow,
    DestinationRow,
    MaintenanceRow,
)
from tests.support.in_process_service import COURSE, World, request
from tests.support.scripted_destination import Destinations, ScriptedKind
from worker.purge import Purge

NOW = datetime(2026, 3, 1, tzinfo=UTC)
REFUSED = ApplyResult(400, "no such mode", "refused", is_permanent=True)


@pytest.fixture
def destinations(sessions: Sessions, world: World) -> Iterator[Destinations]:
    world.course()
    made = Destinations(sessions)
    yield made
    made.delivery.clients.close()


def enroll(world: World, destinations: Destinations, number: int) -> None:
    world.ask(*(request(f"u{each}", COURSE) for each in range(number)))
    world.work()
    destinations.read_all()


def add_report(sessions: Sessions, name: str, differences: int) -> UUID:
    """Adds a report that is done."""
    report_id = uuid4()
    with sessions.begin() as session:
        assert reports.add(session, name, ReportKind.RECONCILE, report_id=report_id, now=NOW)
        assert reports.lease_next(session, "me", now=NOW, until=NOW + timedelta(seconds=60))
        missing = Difference(
            DifferenceKind.MISSING_THERE,
            COURSE,
            "ada",
            mode_here="audit",
            is_active_here=True,
            mode_there=None,
            is_active_there=None,
        )
        found = [
            ReportedDifference(number, missing, is_queued=False)
            for number in range(1, differences + 1)
        ]
        reports.add_differences(session, report_id, found)
        reports.finish(session, report_id, "me", {}, now=NOW)
    return report_id


def count(sessions: Sessions, row: type) -> int:
    query: Select[int] = select(func.count()).select_from(row)
    with sessions.read() as session:
        return session.scalar(query) or 0


def purge_portion(sessions: Sessions, limit: int) -> bool:
    with sessions.begin() as session:
        return removal.purge(session, limit=limit)


def test_a_removed_destination_is_gone_at_once_and_its_name_is_free(
    destinations: Destinations, world: World, sessions: Sessions
) -> None:
    stored = destinations.add("lms")
    enroll(world, destinations, 3)
    with sessions.begin() as session:
        queued = reports.add(session, "lms", ReportKind.PULL, report_id=uuid4(), now=NOW)
        assert reports.lease_next(session, "me", now=NOW, until=NOW + timedelta(seconds=60))
    assert queued is not None
    with sessions.begin() as session:
        assert removal.remove(session, "lms", now=NOW)
        assert not removal.remove(session, "lms", now=NOW)
    with pytest.raises(LeaseLost), sessions.begin() as session:
        reports.store_counts(session, queued.id, "me", {})
    with sessions.read() as session:
        hidden = session.scalars(select(DestinationRow)).one()
        assert hidden.auth == ""
        for name in ("lms", hidden.name):
            assert registry.find(session, name) is None
            assert reports.find(session, name, queued.id) is None
        assert registry.find_all(session) == []
        assert registry.find_due(session, now=datetime.now(UTC)) == []
        assert arrivals.load_backlogs(session) == []
        assert arrivals.find_arrivals(session, [(COURSE, "u1")]) == []
    assert destinations.deliver(stored) == 0
    made = destinations.add("lms")
    assert destinations.log(made) == []
    enroll(world, destinations, 5)  # two are new
    assert {each.username for each in destinations.log(made)} == {"u3", "u4"}
    assert len(destinations.log(stored)) == 3


def test_a_removed_destination_is_deleted_in_portions(
    destinations: Destinations, world: World, sessions: Sessions
) -> None:
    destinations.add("kept")
    destinations.add("lms")
    enroll(world, destinations, 5)
    add_report(sessions, "lms", 5)
    add_report(sessions, "kept", 5)
    with sessions.begin() as session:
        removal.remove(session, "lms", now=NOW)
    rows = (DestinationRow, DestinationDeliveryRow, DestinationReportRow, DestinationDifferenceRow)
    left = []
    while purge_portion(sessions, 2):
        left.append(tuple(count(sessions, row) for row in rows))
    assert left[0] == (2, 10, 2, 8)
    assert all(sum(a) - sum(b) <= 3 for a, b in pairwise(left))
    assert left[-1] == (1, 5, 1, 5)


def test_the_purge_deletes_what_was_removed(
    destinations: Destinations, world: World, sessions: Sessions
) -> None:
    destinations.add("lms")
    enroll(world, destinations, 3)
    with sessions.begin() as session:
        removal.remove(session, "lms", now=NOW)
    purge = Purge(sessions=sessions, monotonic=lambda: 0.0)
    with sessions.begin() as session:
        session.execute(update(MaintenanceRow).values(ended_at=NOW))
    assert purge.run_turn() is None
    assert count(sessions, DestinationRow) == 0


def test_only_the_newest_reports_are_kept(destinations: Destinations, sessions: Sessions) -> None:
    destinations.add("lms")
    oldest = add_report(sessions, "lms", 3)
    with sessions.begin() as session:
        row = DestinationReportRow
        past = NOW - timedelta(days=1)
        session.execute(update(row).where(row.id == oldest).values(created=past))
    for _ in range(MAX_REPORTS - 1):
        add_report(sessions, "lms", 0)
    assert not purge_portion(sessions, 2)
    add_report(sessions, "lms", 0)
    while purge_portion(sessions, 2):
        assert count(sessions, DestinationReportRow) >= MAX_REPORTS
    assert count(sessions, DestinationReportRow) == MAX_REPORTS
    assert count(sessions, DestinationDifferenceRow) == 0


def test_what_failed_is_sent_again_in_portions(
    destinations: Destinations, world: World, sessions: Sessions
) -> None:
    lms = destinations.add(kind=ScriptedKind(else_=lambda _: REFUSED), concurrency=2)
    enroll(world, destinations, 5)
    assert destinations.deliver(lms) == 5
    failed = [each.id for each in destinations.log(lms, DeliveryState.FAILED)]
    after, portions = 0, list[list[int]]()
    while not portions or len(portions[-1]) == 2:
        with sessions.begin() as session:
            ids = deliveries.retry_failed(session, lms.id, after=after, limit=2, now=NOW)
        portions.append(list(ids))
        after = ids[-1]
    assert portions == [failed[:2], failed[2:4], failed[4:]]
    assert destinations.log(lms, DeliveryState.FAILED) == []
