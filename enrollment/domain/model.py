"""Domain values: requests, enrollments, courses, learners, invitations and outcomes.

Values that exist per row are `NamedTuple`s, which are cheaper to create than frozen dataclasses and
as immutable; values that exist per course are frozen dataclasses.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import NamedTuple

from enrollment.domain.codes import CallerKind, Code, Reason

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

#: Mode that needs the attribute `credit:provider_id`.
CREDIT = "credit"
#: Mode that a course without modes offers (Open edX: Synthetic mode).
AUDIT = "audit"
HONOR = "honor"


@lru_cache(maxsize=1_024)
def microseconds(moment: datetime) -> int:
    """Returns whole microseconds from the epoch to the moment."""
    return (moment - EPOCH) // _MICROSECOND


class WritePrecedence(NamedTuple):
    """Precedence of a write: of two writes to the same field the greater one wins.

    `at` is the requested time in microseconds since 1970; `rank` orders submissions with the same
    time; `line` orders the rows of one submission.
    """

    at: int
    rank: int
    line: int


#: Makes stated times rank above received ones at the same moment, because a request that states a
#: time was received after it.
_STATED_TIME = 1 << 62


def precedence_of(
    effective_at: datetime, *, stated: bool, intake: int, line: int
) -> WritePrecedence:
    """Returns the precedence of a request; earlier times rank lower.

    At equal stated times the earlier submission ranks higher (so a file that is sent again changes
    nothing), and within it the later line. Otherwise the later submission ranks higher. `intake` is
    the position of the submission in the order of intake.
    """
    rank = _STATED_TIME - intake if stated else intake
    return tuple.__new__(WritePrecedence, (microseconds(effective_at), rank, line))


class Rights(NamedTuple):
    """Permissions of a caller beyond enrolling, decided by the gateway at intake."""

    deactivate: bool
    change_mode: bool
    #: Move an existing enrollment into an expired mode.
    use_expired: bool
    #: Override the enrollment window, the invitation and a mode's deadline; never the capacity.
    force: bool
    #: State `requested_at`.
    state_time: bool

    @property
    def is_privileged(self) -> bool:
        """Whether this is another caller than a learner.

        Only such a one may set attributes and cohort, and come back in the paid mode of an
        enrollment that another caller than the learner withdrew.
        """
        return self.change_mode


#: Rights of each kind of caller (Open edX: Privileges).
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
    """A named value stored with an enrollment, such as `credit:provider_id`."""

    namespace: str
    name: str
    value: str


class Request(NamedTuple):
    """The desired change of one enrollment, with its effective time, precedence and rights."""

    line: int
    username: str
    course_id: str
    effective_at: datetime
    precedence: WritePrecedence
    rights: Rights
    is_active: bool = True
    #: None: not stated.
    mode: str | None = None
    attributes: tuple[Attribute, ...] | None = None
    cohort: str | None = None
    force: bool = False


class Enrollment(NamedTuple):
    """The state of one learner in one course, with the precedence of each field.

    A precedence of None means that the field was never stated.
    """

    mode: str
    is_active: bool
    created: datetime
    activity_precedence: WritePrecedence
    mode_precedence: WritePrecedence | None = None
    attributes: tuple[Attribute, ...] = ()
    attributes_precedence: WritePrecedence | None = None
    cohort: str | None = None
    cohort_precedence: WritePrecedence | None = None

    def with_precedence(self, precedence: WritePrecedence) -> "Enrollment":
        """Returns a new enrollment with each of its precedences replaced; None stays None."""
        mode, is_active, created, _, by_mode, attributes, by_attributes, cohort, by_cohort = self
        cells = (
            mode,
            is_active,
            created,
            precedence,
            by_mode and precedence,
            attributes,
            by_attributes and precedence,
            cohort,
            by_cohort and precedence,
        )
        return tuple.__new__(Enrollment, cells)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mode:
    """An enrollment track of a course, such as `audit` or `verified`."""

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
        """Returns whether the mode is available at a moment; the deadline itself is included."""
        return self.expires_at is None or self.expires_at >= at


#: Offered by a course that has no modes, or only expired ones (Open edX: Synthetic mode).
SYNTHETIC_MODE = Mode(slug=AUDIT, name="Audit")


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """A course: enrollment window, modes, cohorts and seats."""

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
        """Returns the modes that are available at a moment; never empty."""
        return tuple(mode for mode in self.modes if mode.is_open(at)) or (SYNTHETIC_MODE,)

    def offers(self, slug: str | None, at: datetime) -> bool:
        """Returns whether the mode is available at a moment."""
        slugs = [mode.slug for mode in self.modes if mode.is_open(at)]
        return slug in slugs if slugs else slug == SYNTHETIC_MODE.slug

    def is_paid(self, slug: str) -> bool:
        """Returns whether the mode has a price."""
        return any(mode.min_price > 0 for mode in self.modes if mode.slug == slug)

    def all_modes(self) -> tuple[Mode, ...]:
        """Returns all modes, including expired ones; never empty."""
        return self.modes or (SYNTHETIC_MODE,)


class Learner(NamedTuple):
    """A person who can be enrolled."""

    username: str
    email: str | None = None
    is_active: bool = True
    is_staff: bool = False
    #: Whether the learner asked to leave: then `unenroll/` withdraws them from every course.
    is_retiring: bool = False


class Invitation(NamedTuple):
    """Permission to enroll in a closed or invite-only course."""

    course_id: str
    email: str
    expires_at: datetime | None = None
    auto_enroll: bool = False
    used_by: str | None = None


class Outcome(NamedTuple):
    """The single result of a request."""

    line: int
    user: str | None
    course_id: str | None
    code: Code
    reason: Reason | None = None
    #: Data that explains the reason, such as `opens_at`, `closed_at` or `errors`.
    details: Mapping[str, object] | None = None
    mode: str | None = None
    is_active: bool | None = None
