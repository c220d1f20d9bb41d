"""The values that the rules are about.

Rows come by the million, so what exists once a row is a ``NamedTuple`` (cheap to make, as
immutable as a frozen dataclass); what exists once a course is a frozen dataclass.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import NamedTuple

from enrollment.domain.codes import CallerKind, Code, Reason

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

#: The mode that needs a provider among its attributes.
CREDIT = "credit"
#: What a course without any mode is taken to offer (upstream's synthetic mode).
AUDIT = "audit"
HONOR = "honor"
#: Modes that an ordinary learner may take without anybody's help.
OPEN_MODES = frozenset({AUDIT, HONOR})


@lru_cache(maxsize=1_024)
def microseconds(moment: datetime) -> int:
    """Whole microseconds from the epoch to the moment."""
    return (moment - EPOCH) // _MICROSECOND


class WritePrecedence(NamedTuple):
    """Precedence of a write: of two writes to the same field the greater one wins.

    `at` is the requested time in microseconds since 1970; `rank` orders submissions with the same
    time; `line` orders the rows of one submission.
    """

    at: int
    rank: int
    line: int


#: Stated times rank above received ones at the same moment: whoever states a time was
#: received after it, and later intake ranks higher.
_STATED_TIME = 1 << 62


def precedence_of(asked_at: datetime, *, stated: bool, intake: int, line: int) -> WritePrecedence:
    """Returns the precedence of a request; earlier times rank lower.

    At equal stated times the earlier submission ranks higher (so a file that is sent again changes
    nothing), and within it the later line. Otherwise the later submission ranks higher. `intake` is
    the position of the submission in the order of intake.
    """
    rank = _STATED_TIME - intake if stated else intake
    return tuple.__new__(WritePrecedence, (microseconds(asked_at), rank, line))


class Rights(NamedTuple):
    """What a caller may do beyond enrolling, as decided at the gate."""

    deactivate: bool
    change_mode: bool
    #: Move an existing enrollment into a mode whose deadline has passed.
    use_expired: bool
    #: Pass the window, the invitation and a mode's deadline; never the seats.
    force: bool
    #: State when a wish was made.
    state_time: bool


#: Upstream's privilege table (section 2) as data.
RIGHTS: Mapping[CallerKind, Rights] = {
    CallerKind.LEARNER: Rights(
        deactivate=False, change_mode=False, use_expired=False, force=False, state_time=False
    ),
    CallerKind.LEAVER: Rights(
        deactivate=True, change_mode=False, use_expired=False, force=False, state_time=False
    ),
    CallerKind.SERVER: Rights(
        deactivate=True, change_mode=True, use_expired=True, force=False, state_time=False
    ),
    CallerKind.STAFF: Rights(
        deactivate=True, change_mode=True, use_expired=False, force=True, state_time=True
    ),
    CallerKind.ADMIN: Rights(
        deactivate=True, change_mode=True, use_expired=True, force=True, state_time=True
    ),
}


class Attribute(NamedTuple):
    """One named value kept beside an enrollment, such as credit:provider_id."""

    namespace: str
    name: str
    value: str


class Request(NamedTuple):
    """One learner, one course, what is wished. Times and rights are settled already."""

    line: int
    username: str
    course_id: str
    effective_at: datetime
    precedence: WritePrecedence
    rights: Rights
    is_active: bool = True
    #: None: not named, which is no wish.
    mode: str | None = None
    attributes: tuple[Attribute, ...] | None = None
    cohort: str | None = None
    force: bool = False


class Enrollment(NamedTuple):
    """The state of one learner in one course, with the rank of the wishes behind it."""

    mode: str
    is_active: bool
    created: datetime
    activity_precedence: WritePrecedence
    mode_precedence: WritePrecedence | None = None
    attributes: tuple[Attribute, ...] = ()
    attributes_precedence: WritePrecedence | None = None
    cohort: str | None = None
    cohort_precedence: WritePrecedence | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Mode:
    """One way to take a course."""

    slug: str
    name: str = ""
    min_price: int = 0
    suggested_prices: str = ""
    currency: str = "usd"
    expires_at: datetime | None = None
    description: str | None = None
    sku: str | None = None
    bulk_sku: str | None = None

    def is_open(self, at: datetime) -> bool:
        """A mode can be taken up to and including its deadline."""
        return self.expires_at is None or self.expires_at >= at


#: What a course offers that lists no mode, or only expired ones (upstream 1.4).
SYNTHETIC_MODE = Mode(slug=AUDIT, name="Audit")


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """A course as the rules see it: window, invitation, modes, seats."""

    course_id: str
    name: str = ""
    enrollment_start: datetime | None = None
    enrollment_end: datetime | None = None
    course_start: datetime | None = None
    course_end: datetime | None = None
    invite_only: bool = False
    self_paced: bool = False
    modes: tuple[Mode, ...] = ()
    cohorts: tuple[str, ...] = ()
    #: None: unlimited.
    capacity: int | None = None
    seats_taken: int = 0

    def modes_at(self, at: datetime) -> tuple[Mode, ...]:
        """The modes that can be taken at a moment; never empty."""
        return tuple(mode for mode in self.modes if mode.is_open(at)) or (SYNTHETIC_MODE,)

    def offers(self, slug: str | None, at: datetime) -> bool:
        """Whether the mode can be taken at a moment."""
        slugs = [mode.slug for mode in self.modes if mode.is_open(at)]
        return slug in slugs if slugs else slug == SYNTHETIC_MODE.slug

    def all_modes(self) -> tuple[Mode, ...]:
        """Every mode that the course has, expired ones too; never empty."""
        return self.modes or (SYNTHETIC_MODE,)


class Learner(NamedTuple):
    """A person who can be enrolled."""

    username: str
    email: str | None = None
    is_active: bool = True
    is_staff: bool = False


class Invitation(NamedTuple):
    """Leave to enroll in a closed or invite-only course."""

    course_id: str
    email: str
    expires_at: datetime | None = None
    auto_enroll: bool = False
    used_by: str | None = None


class Outcome(NamedTuple):
    """The one answer to a request."""

    line: int
    user: str | None
    course_id: str | None
    code: Code
    reason: Reason | None = None
    #: Facts behind the reason: ``opens_at``, ``closed_at``, ``errors`` and the like.
    details: Mapping[str, object] | None = None
    mode: str | None = None
    is_active: bool | None = None
