"""The client of a destination of kind `openedx`."""

from collections.abc import Iterator, Sequence

import httpx

from enrollment.domain.destinations.records import (
    ApplyResult,
    Auth,
    Destination,
    RemoteCourse,
    RemoteState,
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

    def list_states(self, courses: Sequence[str]) -> Iterator[RemoteState]:
        """Yields the enrollments of courses, or all if none is named. Raises LmsFailure."""
        for course_id in courses or (None,):
            yield from self._reader.list_states(course_id)

    def read_courses(self) -> Iterator[RemoteCourse]:
        """Yields the courses that can be enrolled in, with their modes. Raises LmsFailure."""
        return self._reader.read_courses()

    def close(self) -> None:
        """Forgets the token."""
        self._session.forget_token()
