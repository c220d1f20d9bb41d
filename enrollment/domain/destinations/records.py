"""Destinations, and the states that are sent to them or read from them."""

from datetime import datetime
from typing import NamedTuple
from urllib.parse import urlsplit

from enrollment.domain.model import Attribute, Mode


class Destination(NamedTuple):
    """A system that must end in the same state; without its credentials."""

    name: str
    kind: str
    url: str
    #: Course keys, and `org+*`; empty for all courses.
    courses: frozenset[str]
    #: Most requests at the same time.
    concurrency: int
    #: Most requests in a second; None for no limit.
    requests_per_second: float | None
    is_paused: bool
    #: Seconds between two pulls of courses; None for none.
    pull_courses_every: int | None

    @property
    def origin(self) -> tuple[str, str]:
        """Scheme, and host with port: its credentials are for these."""
        parts = urlsplit(self.url)
        return parts.scheme, parts.netloc.lower()


class Auth(NamedTuple):
    """Decrypted credentials of a destination: a client with its secret, or a key."""

    client_id: str | None = None
    client_secret: str | None = None
    api_key: str | None = None

    def __repr__(self) -> str:
        """Returns the name alone, so that no log and no message of an error has credentials."""
        return "Auth(...)"


class WantedState(NamedTuple):
    """The state that an enrollment must have in a destination."""

    course_id: str
    username: str
    email: str | None
    mode: str
    is_active: bool
    #: Whether a change since the last arrival was forced.
    is_forced: bool
    attributes: tuple[Attribute, ...] = ()


class ApplyResult(NamedTuple):
    """The result of sending a state."""

    #: None without an answer.
    status: int | None = None
    #: Its first 1,000 bytes.
    answer: str | None = None
    #: None: it has arrived.
    error: str | None = None
    #: Whether another attempt would be refused as well.
    is_permanent: bool = False
    #: Seconds that the destination asked to wait.
    retry_after: float = 0.0
    #: Whether the destination may still be applying the state.
    may_follow: bool = False


class RemoteState(NamedTuple):
    """The state of an enrollment as a destination has it."""

    course_id: str
    username: str
    mode: str
    is_active: bool
    created: datetime | None = None


class StatesPage(NamedTuple):
    """Enrollments that a destination has: a page of its list."""

    states: tuple[RemoteState, ...]
    #: The place at which the list goes on, in a form of the kind's own; None at the end.
    following: str | None


class RemoteCourse(NamedTuple):
    """A course as a destination has it."""

    course_id: str
    name: str
    start: datetime | None
    end: datetime | None
    enrollment_start: datetime | None
    enrollment_end: datetime | None
    invitation_only: bool
    modes: tuple[Mode, ...]
