"""The client of a destination of kind `openedx`."""

import json
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256

import httpx

from enrollment.domain.destinations.records import (
    ApplyResult,
    Auth,
    Destination,
    RemoteCourse,
    StatesPage,
    WantedState,
)
from worker.destinations.openedx.applying import apply_state
from worker.destinations.openedx.reading import LmsReader
from worker.destinations.openedx.session import LmsSession


class OpenedxDestination:
    """An LMS; its token is shared by all threads that use this client."""

    def __init__(self, destination: Destination, auth: Auth, http: httpx.Client) -> None:
        root = destination.url.rstrip("/")
        self._session = LmsSession(root=root, auth=auth, http=http)
        self._reader = LmsReader(session=self._session)

    def apply(self, state: WantedState) -> ApplyResult:
        """Sends a state in bounded time: three requests at most, and one for a token."""
        return apply_state(self._session, state)

    def list_pages(
        self, courses: Sequence[str], *, place: str | None = None
    ) -> Iterator[StatesPage]:
        """Yields the enrollments of courses, or all if none is named. Raises LmsFailure."""
        lists: Sequence[str | None] = courses or [None]
        mark = self._mark(courses)
        first, start = _read_place(place, mark)
        for index, course_id in enumerate(lists[first:], first):
            for states, following in self._reader.list_pages(course_id, start):
                at = (index + 1, {}) if following is None else (index, following)
                is_end = at[0] == len(lists)
                yield StatesPage(states, None if is_end else json.dumps([mark, *at]))
            start = {}

    def _mark(self, courses: Sequence[str]) -> str:
        """Returns a text that no list of other courses, or of another LMS, has."""
        return sha256("\n".join([self._session.root, *courses]).encode()).hexdigest()

    def read_courses(self) -> Iterator[RemoteCourse]:
        """Yields the courses that can be enrolled in, with their modes. Raises LmsFailure."""
        return self._reader.read_courses()

    def close(self) -> None:
        """Forgets the token."""
        self._session.forget_token()


def _read_place(place: str | None, mark: str) -> tuple[int, Mapping[str, str]]:
    """Returns the course of a place by its index in the list, and the page there."""
    found = None if place is None else json.loads(place)
    return (0, {}) if found is None or found[0] != mark else (found[1], found[2])
