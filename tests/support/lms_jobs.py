"""A database with a destination whose client talks to an LMS on a real socket, and its jobs."""

import threading
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Self
from uuid import uuid4

from sqlalchemy import update

from enrollment.domain.destinations.deliveries import StoredDestination
from enrollment.domain.destinations.records import Destination
from enrollment.domain.destinations.reports import (
    DestinationReport,
    ReportedDifference,
    ReportKind,
)
from enrollment.runtime.outbound.addresses import OutboundPolicy
from enrollment.runtime.outbound.guarded_http import guarded_client
from enrollment.runtime.outbound.secret_encryption import SecretEncryption
from enrollment.storage.destinations import registry, reports
from enrollment.storage.engine.sessions import Sessions
from enrollment.storage.tables import DestinationDeliveryRow, DestinationRow
from tests.support.in_process_service import World
from worker.destinations.clients import DestinationClients
from worker.destinations.destination_delivery import DestinationDelivery
from worker.destinations.fan_out import read_changes
from worker.destinations.reports.import_intake import ImportIntake
from worker.destinations.reports.report_loop import ReportLoop

_ENCRYPTION = SecretEncryption(["k" * 32])
CAMPUS = "campus"


class LmsJobs:
    """One destination, and what the schedule's process does with it, step by step."""

    def __init__(self, sessions: Sessions, url: str, auth: str, **members: object) -> None:
        self.sessions = sessions
        policy = OutboundPolicy(allows_private=True)
        self._clients = DestinationClients(
            make_http=lambda number: guarded_client(policy, max_connections=number),
            encryption=lambda: _ENCRYPTION,
        )
        self.delivery = DestinationDelivery(sessions=sessions, clients=self._clients)
        self.loop = self.another_process("one")
        self.stored = self._add(url, auth, members)

    def another_process(self, holder: str) -> ReportLoop:
        """Returns another loop of jobs."""
        intake = ImportIntake(sessions=self.sessions, dispatch=lambda _: None)
        return ReportLoop(
            sessions=self.sessions, clients=self._clients, intake=intake, holder=holder
        )

    def _add(self, url: str, auth: str, more: dict[str, object]) -> StoredDestination:
        members: dict[str, object] = {
            "kind": "openedx",
            "url": url,
            "courses": frozenset(),
            "concurrency": 2,
            "requests_per_second": None,
            "is_paused": False,
            "pull_courses_every": None,
            **more,
        }
        with self.sessions.begin() as session:
            stored, _ = registry.put(
                session,
                Destination(CAMPUS, **members),  # type: ignore[arg-type]
                _ENCRYPTION.encrypt(auth),
                destination_id=uuid4(),
                now=datetime.now(UTC) - timedelta(days=1),
            )
        assert stored is not None
        return stored

    def __enter__(self) -> Self:
        """Returns itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Closes the connections."""
        self._clients.close()

    def deliver_all(self) -> None:
        """Queues what is in the feed, and sends until nothing is due."""
        while read_changes(self.sessions):
            continue
        self.make_due()
        while self.delivery.deliver_slice(self.stored.id):
            self.make_due()

    def make_due(self) -> None:
        """Lets waiting times be over."""
        past = datetime.now(UTC) - timedelta(days=1)
        with self.sessions.begin() as session:
            session.execute(update(DestinationRow).values(not_before=None))
            is_waiting = DestinationDeliveryRow.state == "pending"
            row = update(DestinationDeliveryRow).where(is_waiting)
            session.execute(row.values(next_attempt_at=past))

    def queue(self, kind: ReportKind, *, is_applied: bool = False) -> DestinationReport:
        """Queues a job."""
        now = datetime.now(UTC)
        with self.sessions.begin() as session:
            report = reports.add(
                session, CAMPUS, kind, report_id=uuid4(), now=now, is_applied=is_applied
            )
        assert report is not None
        return report

    def run(
        self, kind: ReportKind, *, is_applied: bool = False, world: World | None = None
    ) -> DestinationReport:
        """Does a job, while the worker of a world works; returns its report."""
        queued = self.queue(kind, is_applied=is_applied)
        ended = threading.Event()

        def work() -> None:
            try:
                self.run_next()
            finally:
                ended.set()

        thread = threading.Thread(target=work)
        thread.start()
        while world is not None and not ended.wait(0.05):
            world.work()
        thread.join()
        return self.report(queued)

    def run_next(self, loop: ReportLoop | None = None) -> bool:
        """Does the next job; returns whether there was one."""
        loop = loop or self.loop
        report = loop.lease_next()
        if report is not None:
            loop.run(report)
        return report is not None

    def report(self, queued: DestinationReport) -> DestinationReport:
        """Returns a report as it is now."""
        with self.sessions.read() as session:
            found = reports.find(session, CAMPUS, queued.id)
        assert found is not None
        return found

    def differences(self, report: DestinationReport) -> list[ReportedDifference]:
        """Returns the differences in a report."""
        with self.sessions.read() as session:
            return reports.page_of_differences(session, report.id, after=0, limit=1_000)
