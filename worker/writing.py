"""What a judgement comes to, written set-wise: enrollments, invitations, events, seats."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from functools import lru_cache

import orjson
from sqlalchemy.orm import Session

from enrollment.domain.events import Change, Standing
from enrollment.domain.judging import Judgement, Key
from enrollment.domain.model import Enrollment
from enrollment.storage import changes, courses, enrollments, invitations, learners
from enrollment.storage.changes import Event, event_id
from enrollment.storage.enrollments import EnrollmentWrite
from worker.loading import Loaded
from worker.reading import Asked


class Writer:
    """Writes what one transaction comes to, part by part; later parts chain to earlier ones."""

    def __init__(self, session: Session, loaded: Loaded, *, now: datetime) -> None:
        self._session = session
        self._now = now
        self._courses = loaded.courses
        self._learners = {name: learner.id for name, learner in loaded.learners.items()}
        #: Version and newest event of each enrollment.
        self._stands = {
            key: (kept.version, kept.event_id) for key, kept in loaded.enrollments.items()
        }
        self._seats: Counter[str] = Counter()
        self._numbers: Counter[int] = Counter()

    def write(self, judgement: Judgement, sources: Sequence[Asked]) -> None:
        """Write a judgement; ``sources`` are the rows behind its positions.

        Raises Conflict where somebody else was first.
        """
        events, newest = self._events(judgement.changes, sources)
        self._make_known(judgement.enrollments.keys())
        writes = self._writes(judgement.enrollments, newest)
        enrollments.write(self._session, writes, now=self._now)
        invitations.use(self._session, judgement.invitations_used)
        changes.add(self._session, events, now=self._now)
        for course_id, taken in judgement.seats.items():
            self._seats[course_id] += taken

    def finish(self) -> Mapping[int, int]:
        """Take the seats; the number of events of each batch, for their places in the feed.

        Seats are counted in every course with a change, none of which was edited meanwhile:
        raises Conflict where one was.
        """
        touched = [self._courses[course_id] for course_id in sorted(self._seats)]
        courses.take_seats(
            self._session,
            {course.id: self._seats[course.course.course_id] for course in touched},
            {course.id: course.revision for course in touched},
        )
        return self._numbers

    def _events(
        self, happened: Sequence[Change], sources: Sequence[Asked]
    ) -> tuple[list[Event], dict[Key, int]]:
        """The events, and the newest of each enrollment that has one."""
        newest: dict[Key, int] = {}
        numbers, stands = self._numbers, self._stands
        events = []
        for position, username, course_id, kind, before, after in happened:
            asked = sources[position]
            batch_id = asked.batch_id
            key = (course_id, username)
            this = event_id(batch_id, numbers[batch_id])
            numbers[batch_id] += 1
            previous = newest.get(key)
            if previous is None and key in stands:
                previous = stands[key][1]
            events.append(
                Event(
                    this,
                    previous,
                    kind,
                    course_id,
                    username,
                    asked.submission_id,
                    asked.line,
                    asked.caller,
                    None if before is None else _state(before),
                    _state(after),
                )
            )
            newest[key] = this
        return events, newest

    def _make_known(self, keys: Collection[Key]) -> None:
        """Whoever is enrolled is a learner, and stays one until this transaction has ended."""
        known = self._learners
        newcomers = {username for _, username in keys if username not in known}
        first_here = {known[name] for _, name in keys - self._stands.keys() if name in known}
        self._learners |= learners.register(self._session, newcomers)
        learners.hold(self._session, first_here)

    def _writes(
        self, written: Mapping[Key, Enrollment], newest: Mapping[Key, int]
    ) -> list[EnrollmentWrite]:
        writes = []
        for key, enrollment in written.items():
            course_id, username = key
            version, event = self._stands.get(key, (0, 0))
            event = newest.get(key, event)
            self._stands[key] = version + 1, event
            row = (self._learners[username], self._courses[course_id].id)
            writes.append(EnrollmentWrite(row, enrollment, version + 1, event))
        return writes


@lru_cache(maxsize=1_000)
def _state(standing: Standing) -> str:
    """The state as JSON; members without a value are left out."""
    shown: dict[str, object] = {"mode": standing.mode, "is_active": standing.is_active}
    if standing.attributes:
        shown["attributes"] = [attribute._asdict() for attribute in standing.attributes]
    if standing.cohort is not None:
        shown["cohort"] = standing.cohort
    return orjson.dumps(shown).decode()
