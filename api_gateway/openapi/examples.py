"""Examples in the document: one learner, one course. Service code renders those of responses."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from enrollment.domain.codes import CallerKind, ChangeKind, Code, Kind, Reason
from enrollment.domain.events import RecordedEvent
from enrollment.domain.model import (
    Course,
    Enrollment,
    Invitation,
    Learner,
    Mode,
    Outcome,
    WritePrecedence,
)
from enrollment.domain.submissions import Submission, Tally
from schemas.courses import dump_course, dump_details
from schemas.enrollments import dump_enrollment
from schemas.events import dump_event, event_source
from schemas.findings import Rule, finding
from schemas.invitations import dump_invitation
from schemas.learners import dump_learner
from schemas.openedx.accounts import dump_account
from schemas.openedx.catalog import dump_catalog_course
from schemas.openedx.eligibility import dump_eligibility
from schemas.openedx.enrollment_allowed import dump_allowed
from schemas.openedx.roles import dump_course_role, dump_role
from schemas.openedx_bulk_enroll import dump_bulk_enroll, load_bulk_enroll
from schemas.outcomes import BulkEnrollStateJson, dump_outcome
from schemas.submissions import dump_submission

COURSE_ID = "course-v1:Uni+ALG101+2026"
_NOW = datetime(2026, 9, 1, 12, 0, 0, 250_000, tzinfo=UTC)
SUBMISSION_ID = UUID("019a1e9c-7c11-7c2f-9d5e-2b1f6f3f7a10")
_INSTALLATION = UUID("6f1c9a54-0f0e-4b7e-9c56-0b8d3a1f2e77")
_CALLER = "key:sis-nightly"

REQUEST_EXAMPLE: dict[str, Any] = {
    "user": "ada",
    "course_details": {"course_id": COURSE_ID},
    "mode": "verified",
}
FILE_EXAMPLE = f"user,course_id,mode\nada,{COURSE_ID},verified\nbob,{COURSE_ID},audit\n"
#: A request body without the members that have defaults.
NEW_COURSE_EXAMPLE: dict[str, Any] = {
    "course_id": COURSE_ID,
    "course_name": "Algebra",
    "enrollment_end": "2026-10-01T00:00:00Z",
    "course_modes": [{"slug": "audit"}, {"slug": "verified", "min_price": 49}],
    "capacity": 120,
}
#: Facts of outcomes, which messages name.
EXAMPLE_FACTS: Mapping[str, object] = {
    "opens_at": "2026-08-01T00:00:00Z",
    "closed_at": "2026-10-01T00:00:00Z",
    "expired_at": "2026-12-01T00:00:00Z",
    "capacity": 120,
    "active_mode": "audit",
    "requested_mode": "verified",
    "required": "credit:provider_id",
    "cohort": "Tuesday",
    "course_id": "course-v1:Uni+ALG101+2062",
    "nearest": COURSE_ID,
    "user": "ada",
    "offered": ["audit", "honor"],
    "errors": [finding("is_active", "perhaps", Rule.TYPE)],
}
BULK_ENROLL_EXAMPLE: dict[str, Any] = {
    "action": "enroll",
    "identifiers": "ada, new@example.org",
    "courses": COURSE_ID,
    "auto_enroll": True,
}

_COURSE = Course(
    course_id=COURSE_ID,
    name="Algebra",
    enrollment_start=datetime(2026, 8, 1, tzinfo=UTC),
    enrollment_end=datetime(2026, 10, 1, tzinfo=UTC),
    course_start=datetime(2026, 9, 15, tzinfo=UTC),
    modes=(
        Mode(
            slug="verified",
            name="Verified",
            min_price=49,
            expires_at=datetime(2026, 12, 1, tzinfo=UTC),
        ),
    ),
    cohorts=("Tuesday",),
    capacity=120,
    seats_taken=1,
)
COURSE_EXAMPLE = dump_course(_COURSE)
_ALLOWED_KEY = {"email": "ada@example.org", "course_id": COURSE_ID}
LEARNER_EXAMPLE = dump_learner(Learner("ada", "ada@example.org"), {"Uni": True})
_INVITATION = dump_invitation(
    Invitation(COURSE_ID, "ada@example.org", expires_at=datetime(2026, 11, 1, tzinfo=UTC))
)
_REFUSED = Outcome(
    3,
    "bob",
    COURSE_ID,
    Code.REFUSED,
    Reason.ENROLLMENT_CLOSED,
    {"closed_at": "2026-10-01T00:00:00Z"},
)
_SUBMISSION = Submission(
    id=SUBMISSION_ID,
    kind=Kind.BULK,
    format="csv",
    caller=_CALLER,
    caller_kind=CallerKind.SERVER,
    received_at=_NOW - timedelta(milliseconds=250),
    started_at=_NOW - timedelta(milliseconds=10),
    finished_at=_NOW,
    total=2,
    tally=Tally(counts={Code.ENROLLED: 1, Code.REFUSED: 1}, reasons={"enrollment_closed": 1}),
)
_EVENT = RecordedEvent(
    id=1 << 14,
    kind=ChangeKind.CREATED,
    course_id=COURSE_ID,
    username="ada",
    at=_NOW,
    submission_id=SUBMISSION_ID,
    line=2,
    caller=_CALLER,
    before=None,
    after={"mode": "verified", "is_active": True},
    position=1,
    request_id="6f1e2d3c4b5a-0000002a",
)
_UNKNOWN_LEARNER: BulkEnrollStateJson = {
    "user": False,
    "enrollment": False,
    "allowed": False,
    "auto_enroll": False,
}
_KNOWN_LEARNER: BulkEnrollStateJson = {**_UNKNOWN_LEARNER, "user": True}
_BULK_ENROLLED = (
    {"before": _KNOWN_LEARNER, "after": {**_KNOWN_LEARNER, "enrollment": True}},
    {
        "before": _UNKNOWN_LEARNER,
        "after": {**_UNKNOWN_LEARNER, "allowed": True, "auto_enroll": True},
    },
)

#: Examples by name of the component.
EXAMPLES: Mapping[str, object] = {
    "EnrollmentRequest": REQUEST_EXAMPLE,
    "Course": NEW_COURSE_EXAMPLE,
    "Learner": LEARNER_EXAMPLE,
    "CrosswalkEntry": {"kind": "course", "theirs": "MATH-101", "ours": COURSE_ID},
    "Invitation": {"expires_at": _INVITATION["expires_at"]},
    "CourseDetails": dump_details(_COURSE, at=_NOW, include_expired=False),
    "KeptCourse": COURSE_EXAMPLE,
    "Saved": {"saved": 2},
    "KeptLearner": LEARNER_EXAMPLE,
    "KeptInvitation": _INVITATION,
    "Enrollment": dump_enrollment(
        "ada",
        Enrollment(
            "verified", is_active=True, created=_NOW, activity_precedence=WritePrecedence(0, 0, 0)
        ),
        _COURSE,
        at=_NOW,
    ),
    "Outcome": dump_outcome(_REFUSED),
    "CourseRoleMembers": {"role": "staff"},
    "CourseRole": dump_course_role("ada", COURSE_ID, "staff"),
    "Roles": {"roles": [dump_role(COURSE_ID, "staff")], "is_staff": False},
    "NewAllowedEnrollment": _ALLOWED_KEY | {"auto_enroll": True},
    "AllowedEnrollmentKey": _ALLOWED_KEY,
    "AllowedEnrollment": dump_allowed(Invitation(COURSE_ID, "ada@example.org"), _NOW),
    "AccessToken": {
        "access_token": "eyJhbGciOiJIUzI1NiIsImtpZCI6IjEifQ.eyJzdWIiOiJhZGEifQ.c2lnbmF0dXJl",
        "expires_in": 3600,
        "token_type": "JWT",
        "scope": "read write profile email",
    },
    "Account": dump_account(Learner("ada", "ada@example.org")),
    "Me": {"username": "ada"},
    "CatalogPage": {
        "results": [dump_catalog_course(_COURSE)],
        "pagination": {"next": None, "previous": None, "count": 1, "num_pages": 1},
    },
    "Eligibility": dump_eligibility(_REFUSED, username="bob", course_id=COURSE_ID, mode=None),
    "Submission": dump_submission(_SUBMISSION, now=_NOW),
    "Event": dump_event(_EVENT, source=event_source(_INSTALLATION)),
    "BulkEnrollAnswer": dump_bulk_enroll(
        load_bulk_enroll(BULK_ENROLL_EXAMPLE),
        [Outcome(1, None, None, Code.ENROLLED, details=states) for states in _BULK_ENROLLED],
    ),
}
