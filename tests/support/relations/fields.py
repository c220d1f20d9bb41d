"""What callers may state in `POST /enrollment`, member by member.

Learners ask for themselves, those who act for others for another learner; the rest is answered as
for any request about somebody else.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from enrollment.domain.model import Mode
from tests.support.gateway import AUDIT, HONOR, ago
from tests.support.relations.callers import (
    ADMINS,
    COURSE_STAFF,
    ENROLLERS,
    KNOWN,
    LEARNERS,
    SERVERS,
    STAFFS,
    Callers,
)
from tests.support.relations.model import HIDDEN, NOT_PERMITTED, Answer

#: The request is accepted, and the member has its effect, or has none.
APPLIED, IGNORED = "applied", "ignored"
#: Callers who neither are learners nor act for any.
OUTSIDERS = KNOWN - LEARNERS - ENROLLERS


class FieldRule(NamedTuple):
    """A member with some value, and what it does for whom."""

    #: What the documentation calls it.
    name: str
    #: The members of the request beside learner and course.
    body: Mapping[str, Any]
    #: Answers to groups of callers, without those who are `OUTSIDERS`.
    lines: Sequence[tuple[Callers, str | Answer]]
    #: What is seen of the enrollment once it is applied, or ignored.
    applied: Mapping[str, Any] = {}
    ignored: Mapping[str, Any] = {}
    #: Members of the course.
    course: Mapping[str, Any] = {}
    #: Requests of an admin that come before, for the same learner.
    before: Sequence[Mapping[str, Any]] = ()

    @property
    def all_lines(self) -> Sequence[tuple[Callers, str | Answer]]:
        """Answers to all callers with valid credentials."""
        return [*self.lines, (OUTSIDERS, HIDDEN)]


PAID = Mode(slug="verified", min_price=100)
LATE = replace(PAID, expires_at=ago(days=1))
ORDER = {"namespace": "order", "name": "order_number", "value": "E-1"}
_CLOSED = {"enrollment_end": ago(days=1)}
_IS_CLOSED = Answer(400, "enrollment_closed")
_TOO_LATE = Answer(400, "mode_expired")
_PRIVILEGED: Sequence[tuple[Callers, str | Answer]] = [(LEARNERS, IGNORED), (ENROLLERS, APPLIED)]
_ENROLLED = ({"mode": "audit"},)

FIELDS: Sequence[FieldRule] = [
    FieldRule(
        "choose the mode `audit` or `honor`",
        {"mode": "honor"},
        [(LEARNERS | ENROLLERS, APPLIED)],
        applied={"mode": "honor"},
    ),
    FieldRule(
        "choose another mode",
        {"mode": "verified"},
        [(LEARNERS, NOT_PERMITTED), (ENROLLERS, APPLIED)],
        applied={"mode": "verified"},
    ),
    FieldRule(
        "change the mode of an active enrollment",
        {"mode": "honor"},
        _PRIVILEGED,
        applied={"mode": "honor", "is_active": True},
        ignored={"mode": "audit", "is_active": True},
        before=_ENROLLED,
    ),
    FieldRule(
        "deactivate (`is_active: false`)",
        {"is_active": False},
        _PRIVILEGED,
        applied={"is_active": False},
        ignored={"is_active": True},
        before=_ENROLLED,
    ),
    FieldRule(
        "come back in a paid mode after another caller withdrew the learner",
        {},
        _PRIVILEGED,
        applied={"mode": "verified", "is_active": True},
        ignored={"mode": "audit", "is_active": True},
        before=({"mode": "verified"}, {"is_active": False}),
    ),
    FieldRule(
        "move an existing enrollment into an expired mode",
        {"mode": "verified"},
        [(LEARNERS, NOT_PERMITTED), (STAFFS - ADMINS, _TOO_LATE), (SERVERS | ADMINS, APPLIED)],
        applied={"mode": "verified"},
        course={"modes": (AUDIT, LATE)},
        before=_ENROLLED,
    ),
    FieldRule(
        "the same by force (`force_enrollment`)",
        {"mode": "verified", "force_enrollment": True},
        [(LEARNERS, NOT_PERMITTED), (ENROLLERS, APPLIED)],
        applied={"mode": "verified"},
        course={"modes": (AUDIT, LATE)},
        before=_ENROLLED,
    ),
    FieldRule(
        "enroll in an expired mode",
        {"mode": "verified"},
        [(LEARNERS, NOT_PERMITTED), (ENROLLERS, _TOO_LATE)],
        course={"modes": (AUDIT, LATE)},
    ),
    FieldRule(
        "the same by force (`force_enrollment`)",
        {"mode": "verified", "force_enrollment": True},
        [(LEARNERS, NOT_PERMITTED), (SERVERS, _TOO_LATE), (STAFFS, APPLIED)],
        applied={"mode": "verified", "is_active": True},
        course={"modes": (AUDIT, LATE)},
    ),
    FieldRule(
        "pass the window and invite-only",
        {},
        [(COURSE_STAFF, APPLIED), (LEARNERS - COURSE_STAFF | ENROLLERS, _IS_CLOSED)],
        applied={"is_active": True},
        course=_CLOSED,
    ),
    FieldRule(
        "the same by force (`force_enrollment`)",
        {"force_enrollment": True},
        [
            (COURSE_STAFF | STAFFS, APPLIED),
            (LEARNERS - COURSE_STAFF | SERVERS, _IS_CLOSED),
        ],
        applied={"is_active": True},
        course=_CLOSED,
    ),
    FieldRule(
        "pass the seats by force (`force_enrollment`)",
        {"force_enrollment": True},
        [(LEARNERS | ENROLLERS, Answer(400, "course_full"))],
        course={"capacity": 0},
    ),
    FieldRule(
        "state `requested_at`",
        {"requested_at": "2026-01-01T00:00:00Z"},
        [(STAFFS, APPLIED), (LEARNERS | SERVERS, NOT_PERMITTED)],
        applied={"is_active": True},
    ),
    FieldRule(
        "set `enrollment_attributes`",
        {"enrollment_attributes": [ORDER]},
        _PRIVILEGED,
        applied={"attributes": [ORDER]},
        ignored={"attributes": None},
    ),
    FieldRule(
        "set `cohort`",
        {"cohort": "red"},
        _PRIVILEGED,
        applied={"cohort": "red"},
        ignored={"cohort": None},
        course={"cohorts": ("red",)},
    ),
    FieldRule(
        "set `email_opt_in`",
        {"email_opt_in": True},
        [(LEARNERS | ENROLLERS, APPLIED)],
        applied={"email_opt_in": True},
    ),
]

#: Modes of the courses that name none.
MODES = (AUDIT, HONOR, PAID)
