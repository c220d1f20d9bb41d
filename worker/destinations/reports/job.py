"""One job at a destination: its client, its lease, and what it has counted."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from sqlalchemy.orm import Session

from enrollment.domain.course_keys import ANY_COURSE, matches_course
from enrollment.domain.destinations.deliveries import StoredDestination
from enrollment.domain.destinations.records import RemoteState, StatesPage
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

    def store_place(self, place: str | None) -> None:
        """Stores the counts, and where the job goes on if it is interrupted. Raises LeaseLost."""
        self.check()
        with self.sessions.begin() as session:
            reports.store_counts(session, self.report.id, self.holder, self.counts, place=place)

    def named_courses(self) -> list[str]:
        """Returns the courses to list one after another; empty to list all."""
        has_pattern = any(each.endswith(ANY_COURSE) for each in self.courses)
        return [] if has_pattern or len(self.courses) > MAX_COURSE_LISTS else sorted(self.courses)

    def remote_pages(self) -> Iterator[StatesPage]:
        """Yields the enrollments of the destination in its courses, and counts them.

        From the place on that is stored with the job.
        """
        for page in self.client.list_pages(self.named_courses(), place=self.report.place):
            self.check()
            is_ours = (state for state in page.states if self._has(state))
            kept = page._replace(states=tuple(is_ours))
            self.counts["there"] += len(kept.states)
            yield kept

    def _has(self, state: RemoteState) -> bool:
        return matches_course(self.courses, state.course_id)
