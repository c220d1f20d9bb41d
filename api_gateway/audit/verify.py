"""Audit of the database: checks every invariant in one snapshot of live data, without writing.

`enroll verify` and the tests run the same checks. They hold only sums, counts by course, and the
first violations in memory.
"""

from collections.abc import Callable, Mapping

from sqlalchemy.orm import Session

from api_gateway.audit.event_checks import EventChecks
from api_gateway.audit.outcome_checks import OutcomeChecks
from api_gateway.audit.report import Report
from api_gateway.audit.timeline import timeline
from enrollment.domain.audit.seats import SeatReplay
from enrollment.domain.errors import EnrollmentError
from enrollment.storage import events as event_store
from enrollment.storage import migrate
from enrollment.storage.audit import events as audit_events
from enrollment.storage.audit import submissions
from enrollment.storage.engine.consistent_snapshot import snapshot
from enrollment.storage.engine.sessions import Sessions

#: Maximum number of violations with a timeline.
MAX_TIMELINES = 20

#: Called with the estimated number of rows; returns a callback for the number of rows just read.
StartProgress = Callable[[int], Callable[[int], object]]


class NotMigrated(EnrollmentError):
    """The tables are not those of this release."""


def verify(
    sessions: Sessions,
    *,
    capacities: Mapping[str, int | None] | None = None,
    start_progress: StartProgress | None = None,
) -> Report:
    """Checks outcomes, enrollments, seats and feed in one consistent snapshot.

    `capacities` has the highest capacity that each course ever had (None: unlimited). Without it
    courses with too many seats taken are not found, because a capacity may be lowered. Raises
    DatabaseUnavailable, NoSpaceForSnapshot (for the copy of SQLite's file), NotMigrated.
    """
    with snapshot(sessions) as session:
        if defect := migrate.defect(session):
            raise NotMigrated(defect)
        return check_snapshot(session, capacities=capacities or {}, start_progress=start_progress)


def check_snapshot(
    session: Session,
    *,
    capacities: Mapping[str, int | None],
    start_progress: StartProgress | None = None,
) -> Report:
    """Runs all checks in an open snapshot of migrated tables."""
    audit_events.use_index_scans(session)
    report = Report()
    if start_progress is not None:
        report.on_rows = start_progress(
            submissions.estimate_rows(session, event_store.last_position(session))
        )
    events = EventChecks(session, report, SeatReplay(capacities))
    events.check_feed()
    events.check_enrollments()
    outcomes = OutcomeChecks(session, report)
    outcomes.check_files()
    outcomes.check_singles()
    report.violations[:MAX_TIMELINES] = [
        violation._replace(timeline=timeline(session, violation.about))
        for violation in report.violations[:MAX_TIMELINES]
    ]
    return report
