"""Audit of the database: checks every invariant on live data, without writing to it.

The same checks run behind `enroll verify` and in the tests. Held in memory are only sums, counts
by course, and the first violations.
"""

from collections.abc import Callable, Mapping

from sqlalchemy.orm import Session

from api_gateway.audit.event_checks import EventChecks
from api_gateway.audit.outcome_checks import OutcomeChecks
from api_gateway.audit.report import Report
from api_gateway.audit.timeline import timeline
from enrollment.domain.audit.seats import SeatReplay
from enrollment.domain.errors import EnrollmentError
from enrollment.storage import migrate
from enrollment.storage.audit import events as audit_events
from enrollment.storage.audit import submissions
from enrollment.storage.engine.consistent_snapshot import snapshot
from enrollment.storage.engine.sessions import Sessions

#: Violations that come with a timeline.
MAX_TIMELINES = 20

#: Is called with the estimated number of rows; what it returns is called with rows read so far.
StartProgress = Callable[[int], Callable[[int], object]]


class NotMigrated(EnrollmentError):
    """The tables are not as this release needs them."""


def verify(
    sessions: Sessions,
    *,
    capacities: Mapping[str, int | None] | None = None,
    start_progress: StartProgress | None = None,
) -> Report:
    """Checks outcomes, enrollments, seats and feed in one consistent snapshot.

    `capacities` has the greatest capacity that each course ever had (None: unlimited); without it
    courses with more seats taken than allowed cannot be found, since a capacity may be lowered.
    Raises RecordsUnavailable, NoRoom (for the copy of SQLite's file), NotMigrated.
    """
    with snapshot(sessions) as session:
        if not migrate.is_current(session):
            message = f"they are at {migrate.current(session) or 'none'}: run `enroll db upgrade`"
            raise NotMigrated(message)
        return check_database(session, capacities=capacities or {}, start_progress=start_progress)


def check_database(
    session: Session,
    *,
    capacities: Mapping[str, int | None],
    start_progress: StartProgress | None = None,
) -> Report:
    """Checks everything, as `verify` does, in a snapshot of migrated tables."""
    audit_events.use_index_scans(session)
    end = audit_events.load_feed_head(session)
    report = Report()
    if start_progress is not None:
        report.on_rows = start_progress(submissions.estimate_rows(session, end or 0))
    events = EventChecks(session, report, SeatReplay(capacities))
    events.check_feed(end)
    events.check_enrollments()
    outcomes = OutcomeChecks(session, report)
    outcomes.check_files()
    outcomes.check_singles()
    report.violations[:MAX_TIMELINES] = [
        violation._replace(timeline=timeline(session, violation.about))
        for violation in report.violations[:MAX_TIMELINES]
    ]
    return report
