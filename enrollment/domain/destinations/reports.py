"""Reports: jobs that compare with a destination, or read it, and what they found."""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple
from uuid import UUID

from enrollment.domain.destinations.differences import Difference


class ReportKind(StrEnum):
    """The kind of job."""

    #: Compares enrollments.
    RECONCILE = "reconcile"
    #: Keeps courses like those of the destination.
    PULL = "pull"
    #: Takes over the enrollments of the destination.
    IMPORT = "import"


class ReportState(StrEnum):
    """The state of a job; it never goes back."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


class DestinationReport(NamedTuple):
    """A job and its result."""

    id: UUID
    destination_id: UUID
    #: Name of the destination.
    destination: str
    kind: ReportKind
    #: Of `reconcile`: whether differences are sent to the destination.
    is_applied: bool
    state: ReportState
    created: datetime
    started_at: datetime | None
    finished_at: datetime | None
    #: Why it failed.
    error: str | None
    counts: Mapping[str, int]
    #: Where an import that was interrupted goes on.
    place: str | None = None


class ReportedDifference(NamedTuple):
    """A difference in a report, by its number there."""

    number: int
    difference: Difference
    #: Whether the state of this service was queued for the destination.
    is_queued: bool
