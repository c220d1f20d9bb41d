"""One job at a destination: its client, its lease, and what it has counted."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from sqlalchemy.orm import Session

from enrollment.domain.course_keys import ANY_COURSE, matches_course
from enrollment.domain.destinations.deliveries import StoredDestination
from enrollment.domain.destinations.records import RemoteState
from enrollment.domain.destinations.reports import DestinationReport
from enrollment.storage.destinations import reports
from enrollment.storage.engine.sessions import Sessions
from worker.destinations.protocol import DestinationKind

#: A destination with more courses than this is read as a whole.
MAX_COURSE_LISTS = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A job that this process is at."""

    report: DestinationReport
    stored: StoredDestination
    client: DestinationKind
    sessions: Sessions
    holder: str
    #: Raises to end the job in the middle.
    check: Callable[[], object]
    counts: Counter[str] = field(default_factory=Counter)

    @property
    def courses(self) -> frozenset[str]:
        """The filter of the destination."""
        return self.stored.destination.courses

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """Yields a session whose transaction stores the counts, too. Raises LeaseLost."""
        self.check()
        with self.sessions.begin() as session:
            yield session
            reports.store_counts(session, self.report.id, self.holder, self.counts)

    def named_courses(self) -> list[str]:
        """Returns the courses to list one after another; empty to list all."""
        has_pattern = any(each.endswith(ANY_COURSE) for each in self.courses)
        return [] if has_pattern or len(self.courses) > MAX_COURSE_LISTS else sorted(self.courses)

    def remote_states(self) -> Iterator[RemoteState]:
        """Yields the enrollments of the destination in its courses, and counts them."""
        for state in self.client.list_states(self.named_courses()):
            self.check()
            if matches_course(self.courses, state.course_id):
                self.counts["there"] += 1
                yield state
