"""The backlog of each destination: deliveries that wait or have failed."""

from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy.orm import Session

from enrollment.domain.destinations.deliveries import DestinationBacklog
from enrollment.storage.destinations import arrivals
from enrollment.storage.engine.sessions import database_now

#: Age of a pending delivery from which it is reported.
OLD_DELIVERY = timedelta(minutes=10)


class ReportedBacklog(NamedTuple):
    """The backlog of a destination at a time."""

    backlog: DestinationBacklog
    now: datetime

    @property
    def finding(self) -> str:
        """A sentence for operators if it needs attention, else empty."""
        name, is_paused, pending, oldest, failed = self.backlog
        findings = []
        if oldest is not None and not is_paused and self.now - oldest > OLD_DELIVERY:
            findings.append(
                f"{pending} enrollments wait, the oldest since {oldest.isoformat()}: check that "
                "beat runs and reaches it"
            )
        if failed:
            findings.append(
                f"{failed} have failed: see `enroll destinations deliveries {name} --state failed`"
            )
        return f"destination {name}: {'; '.join(findings)}" if findings else ""

    @property
    def summary(self) -> str:
        """A sentence on the numbers."""
        name, is_paused, pending, _, failed = self.backlog
        paused = " (paused)" if is_paused else ""
        return f"{name}{paused}: {pending} wait, {failed} have failed"


def report_backlogs(session: Session) -> list[ReportedBacklog]:
    """Returns the backlog of each destination, by name."""
    now = database_now(session)
    return [ReportedBacklog(backlog, now) for backlog in arrivals.load_backlogs(session)]
