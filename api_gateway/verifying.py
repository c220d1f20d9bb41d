"""Verifying: every promise about the records, checked on a live database without writing to it.

The same checks run behind ``enroll verify`` and in the tests. Nothing is held in memory but
sums, counts by course, and what was found.
"""

from collections.abc import Mapping

from sqlalchemy.orm import Session

from api_gateway.chain_checks import Chains
from api_gateway.reports import Progress, Report
from api_gateway.request_checks import Requests
from api_gateway.timelines import timeline
from enrollment.domain.errors import EnrollmentError
from enrollment.domain.seating import Seats
from enrollment.storage import accounts, audit, migrate
from enrollment.storage.sessions import Sessions
from enrollment.storage.snapshots import snapshot

#: Violations of which the whole story is told.
TOLD = 20


class NotMigrated(EnrollmentError):
    """The tables are not as this release needs them."""


def verify(
    sessions: Sessions,
    *,
    capacities: Mapping[str, int | None] | None = None,
    progress: Progress | None = None,
) -> Report:
    """Check outcomes, enrollments, seats and feed as they are at one moment.

    ``capacities`` has the greatest number of seats that each course ever had (None for
    unlimited); without it nobody can tell whether more were given than there were, because a
    capacity may be lowered. Raises RecordsUnavailable, NoRoom (for SQLite's copy), NotMigrated.
    """
    with snapshot(sessions) as session:
        if not migrate.is_current(session):
            message = f"they are at {migrate.current(session) or 'none'}: run `enroll db upgrade`"
            raise NotMigrated(message)
        return examine(session, capacities=capacities or {}, progress=progress)


def examine(
    session: Session,
    *,
    capacities: Mapping[str, int | None],
    progress: Progress | None = None,
) -> Report:
    """The same inside a transaction that sees one moment, on tables that are right."""
    audit.go_by_keys(session)
    report, told, end = Report(), progress or Progress(), audit.head(session)
    if progress is not None:
        progress.begin(accounts.size(session, end or 0))
    chains = Chains(session, report, told, Seats(capacities))
    chains.check_feed(end)
    chains.check_enrollments()
    requests = Requests(session, report, told)
    requests.check_files()
    requests.check_singles()
    for place, one in enumerate(report.found[:TOLD]):
        report.found[place] = one._replace(story=timeline(session, one.violation.about))
    return report
