"""The loop that starts the jobs of destinations, and queues the pulls that are due."""

import threading
from collections import Counter
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from uuid import UUID

import structlog
from sqlalchemy.orm import Session

from enrollment.domain.destinations.deliveries import StoredDestination
from enrollment.domain.destinations.reports import DestinationReport, ReportKind
from enrollment.domain.errors import Conflict, DatabaseUnavailable, EnrollmentError
from enrollment.runtime.ids import uuid7s
from enrollment.runtime.outbound.secret_encryption import NoEncryptionKey
from enrollment.storage.destinations import registry, reports
from enrollment.storage.destinations.reports import LeaseLost
from enrollment.storage.engine.sessions import Sessions, database_now
from worker.background.keyed_threads import KeyedThreads
from worker.background.repeating_thread import LoopEvents, Pauses, RepeatingThread
from worker.destinations.clients import DestinationClients, UnknownKind
from worker.destinations.protocol import DestinationFailure
from worker.destinations.reports.import_intake import ImportIntake
from worker.destinations.reports.importing import import_states
from worker.destinations.reports.job import Job
from worker.destinations.reports.pulling import pull_courses
from worker.destinations.reports.reconciling import reconcile

log = structlog.get_logger()

#: Jobs at once, each of another destination.
MAX_JOBS = 8
#: Connections to the database: jobs and the renewals of their leases take one for short times.
REPORT_CONNECTIONS = 3
#: Seconds of a lease, and between two renewals.
REPORT_LEASE_SECONDS, _RENEW_SECONDS = 60, 15.0
_POLL_SECONDS = 0.5

_PAUSES = Pauses(outage=2.0, failure=2.0)
_EVENTS = LoopEvents(
    "destinations.database_unavailable", "destinations.step_failed", "destinations.resumed"
)


class _Stopped(Exception):
    """The process ends; the job is left to another one."""


@dataclass(slots=True, kw_only=True)
class ReportLoop:
    """Does jobs, each in a thread of its own; several processes may run it.

    A destination has one job at a time, so that a slow one does not hold up those of others.
    """

    sessions: Sessions
    clients: DestinationClients
    intake: ImportIntake
    #: Unique among all processes.
    holder: str
    _stopped: threading.Event = field(default_factory=threading.Event)
    _thread: RepeatingThread = field(init=False)
    #: By destination.
    _jobs: KeyedThreads = field(init=False)

    def __post_init__(self) -> None:
        """Makes the threads, without starting one."""
        self._thread = RepeatingThread("reports", self._step, _EVENTS, pauses=_PAUSES)
        self._jobs = KeyedThreads(self._stopped, self._thread.wake)

    def start(self) -> None:
        """Starts looking for jobs."""
        self._thread.start()

    def request_stop(self) -> None:
        """Ends the jobs that are being done. Does not wait for it."""
        self._stopped.set()
        self._thread.request_stop()

    def stop(self) -> None:
        """Ends all threads; a job in the middle is gone on with by another process."""
        self.request_stop()
        self._thread.stop()
        if self._jobs.join():
            self.clients.close()

    def _step(self) -> float:
        """Starts the next job; returns the seconds until the one after it."""
        busy = self._jobs.keys()
        with self.sessions.read() as session:
            existing = registry.find_ids(session)
        self.clients.close_others(existing | busy)
        if len(busy) >= MAX_JOBS or (report := self.lease_next(busy)) is None:
            return _POLL_SECONDS
        if not self._jobs.start(report.destination_id, partial(self._try, report)):
            self._release(report)  # the process ends: another one need not wait for the lease
        return 0.0

    def _try(self, report: DestinationReport) -> bool:
        """Does a job; one that an error interrupts is begun again after its lease."""
        try:
            self.run(report)
        except EnrollmentError as error:
            log.warning(_EVENTS.interrupted, report=str(report.id), because=str(error))
        except Exception:
            log.exception("destination.report_failed", report=str(report.id))
        return True

    def lease_next(self, busy: Collection[UUID] = ()) -> DestinationReport | None:
        """Queues due pulls, and leases the next job of a destination that is not busy.

        Raises DatabaseUnavailable, Conflict.
        """
        self._queue_pulls()
        with self.sessions.begin() as session:
            now = database_now(session)
            until = now + timedelta(seconds=REPORT_LEASE_SECONDS)
            return reports.lease_next(session, self.holder, busy=busy, now=now, until=until)

    def run(self, report: DestinationReport) -> None:
        """Does a job that was leased. Raises DatabaseUnavailable, Conflict."""
        try:
            self._run(report)
        except LeaseLost:
            log.warning("destination.report_lost", report=str(report.id))
        except _Stopped:
            self._release(report)

    def _release(self, report: DestinationReport) -> None:
        """Lets another process do a job at once."""
        with suppress(LeaseLost), self.sessions.begin() as session:
            reports.release(session, report.id, self.holder)

    def _queue_pulls(self) -> None:
        """Queues the pulls of courses whose time has come."""
        with self.sessions.read() as session:
            now = database_now(session)
            due = [
                stored.destination.name
                for stored in registry.find_all(session)
                if _is_pull_due(session, stored, now)
            ]
        for name in due:
            with self.sessions.begin() as session:
                (report_id,) = uuid7s(now, 1)
                reports.add(session, name, ReportKind.PULL, report_id=report_id, now=now)

    def _run(self, report: DestinationReport) -> None:
        """Does a job and stores how it ended. Raises LeaseLost, _Stopped, DatabaseUnavailable."""
        with self.sessions.read() as session:
            stored = registry.find(session, report.destination)
        if stored is None:
            return
        error, job = None, None
        try:
            job = Job(
                report=report,
                stored=stored,
                client=self.clients.find(stored),
                sessions=self.sessions,
                holder=self.holder,
                check=partial(self._pause, 0.0),
                counts=Counter(report.counts),
            )
            with _Renewal(self, report):
                self._work(job)
        except (DestinationFailure, NoEncryptionKey, UnknownKind) as failure:
            error = str(failure)
        except (Conflict, DatabaseUnavailable, LeaseLost, _Stopped):
            raise
        except Exception:
            log.exception("destination.report_failed", report=str(report.id))
            error = "internal_error"
        with self.sessions.begin() as session:
            now = database_now(session)
            counts = {} if job is None else job.counts
            reports.finish(session, report.id, self.holder, counts, now=now, error=error)
        log.info("destination.report_done", report=str(report.id), kind=report.kind, error=error)

    def _work(self, job: Job) -> None:
        if job.report.kind is ReportKind.RECONCILE:
            reconcile(job)
        elif job.report.kind is ReportKind.PULL:
            pull_courses(job)
        else:
            import_states(job, self.intake, self._pause)

    def _pause(self, seconds: float) -> None:
        """Waits. Raises _Stopped at the end of the process."""
        if self._stopped.wait(seconds):
            raise _Stopped


def _is_pull_due(session: Session, stored: StoredDestination, now: datetime) -> bool:
    seconds = stored.destination.pull_courses_every
    if seconds is None:
        return False
    newest = reports.newest_of(session, stored.id, ReportKind.PULL)
    return newest is None or newest + timedelta(seconds=seconds) <= now


class _Renewal:
    """Renews the lease of a job in a thread of its own, because a page may take minutes."""

    def __init__(self, loop: ReportLoop, report: DestinationReport) -> None:
        self._loop, self._report = loop, report
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._repeat, name="report-lease", daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _repeat(self) -> None:
        while not self._ended.wait(_RENEW_SECONDS):
            try:
                with self._loop.sessions.begin() as session:
                    until = database_now(session) + timedelta(seconds=REPORT_LEASE_SECONDS)
                    reports.renew(session, self._report.id, self._loop.holder, until=until)
            except (Conflict, DatabaseUnavailable) as error:
                log.info("destinations.database_unavailable", because=str(error))
            except LeaseLost:
                return
