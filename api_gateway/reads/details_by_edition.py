"""Course details as JSON, for the answers of group reads.

The edition of the courses is read by the same statement as the enrollments. So the details that are
kept under it are never older than the answer's other members, and nothing has to expire or to be
purged (decisions 2 and 23).
"""

from collections.abc import Callable, Collection
from datetime import UTC, datetime
from typing import NamedTuple

import orjson
from sqlalchemy.orm import Session

from enrollment.domain.model import Course
from enrollment.storage import courses
from schemas.courses import dump_details

#: Maximum number of courses whose details are kept.
MAX_KEPT_COURSES = 10_000
_FOREVER = datetime.max.replace(tzinfo=UTC)


class _Entry(NamedTuple):
    details: orjson.Fragment
    #: The details change after this time, because a mode expires.
    valid_until: datetime


class DetailsByEdition:
    """The details of the courses of one edition. Safe to use from several threads."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self._kept: tuple[int, dict[str, _Entry]] = (-1, {})

    def find_all(
        self, session: Session, edition: int, course_ids: Collection[str]
    ) -> dict[str, orjson.Fragment]:
        """Returns the details of the courses that exist, at least as new as the edition."""
        if not course_ids:  # the edition is unknown then
            return {}
        entries, now = self._entries(edition), self._now()
        found, missing = {}, []
        for course_id in course_ids:
            entry = entries.get(course_id)
            if entry is not None and now <= entry.valid_until:
                found[course_id] = entry.details
            else:
                missing.append(course_id)
        for course in courses.find_all(session, missing).values() if missing else ():
            entry = _entry(course, now)
            found[course.course_id] = entry.details
            if len(entries) < MAX_KEPT_COURSES or course.course_id in entries:
                entries[course.course_id] = entry
        return found

    def _entries(self, edition: int) -> dict[str, _Entry]:
        """Returns what is kept under an edition; another edition makes room for it."""
        kept_edition, entries = self._kept
        if kept_edition != edition:
            entries = {}
            self._kept = (edition, entries)
        return entries


def _entry(course: Course, now: datetime) -> _Entry:
    body = orjson.dumps(dump_details(course, at=now, include_expired=False))
    ends = [mode.expires_at for mode in course.modes if mode.expires_at and mode.expires_at >= now]
    return _Entry(orjson.Fragment(body), min(ends, default=_FOREVER))
