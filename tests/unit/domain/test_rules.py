"""Each rule checks one condition at the effective time of the request."""

from datetime import timedelta, timezone

import pytest

from enrollment.domain.codes import CallerKind, Reason
from enrollment.domain.model import Invitation, Learner
from enrollment.domain.rules import (
    NO_LEARNER,
    LearnerContext,
    format_timestamp,
    refuse_entry,
    refuse_invitation,
    refuse_outside_window,
    refuse_when_full,
)
from tests.unit.domain.builders import (
    ALGEBRA,
    MOMENT,
    NOON,
    a_course,
    a_request,
    minute,
    reason_of,
)

CLOSE = minute(60)
OPEN_COURSE = {"enrollment_start": NOON, "enrollment_end": CLOSE}


def an_invitation(**facts):
    return Invitation(ALGEBRA, "ada@uni.test", **facts)


@pytest.mark.parametrize(
    ("at", "reason"),
    [
        pytest.param(NOON - MOMENT, Reason.ENROLLMENT_NOT_OPEN, id="before-opening"),
        pytest.param(NOON, Reason.ENROLLMENT_NOT_OPEN, id="at-opening"),
        pytest.param(NOON + MOMENT, None, id="just-after-opening"),
        pytest.param(CLOSE - MOMENT, None, id="just-before-closing"),
        pytest.param(CLOSE, Reason.ENROLLMENT_CLOSED, id="at-closing"),
        pytest.param(CLOSE + MOMENT, Reason.ENROLLMENT_CLOSED, id="after-closing"),
    ],
)
def test_the_window_excludes_both_its_moments(at, reason):
    refusal = refuse_outside_window(a_request(at=at), a_course(**OPEN_COURSE))

    assert reason_of(refusal) is reason


@pytest.mark.parametrize(
    ("window", "at"),
    [
        pytest.param({}, NOON, id="no-window"),
        pytest.param({"enrollment_start": NOON}, CLOSE + timedelta(days=9999), id="never-closes"),
        pytest.param({"enrollment_end": CLOSE}, NOON - timedelta(days=9999), id="always-was-open"),
        pytest.param({"course_start": CLOSE, "course_end": CLOSE}, NOON, id="runs-later"),
        pytest.param({"course_start": NOON, "course_end": NOON}, CLOSE, id="is-over"),
    ],
)
def test_a_window_without_a_moment_is_open_on_that_side(window, at):
    assert refuse_outside_window(a_request(at=at), a_course(**window)) is None


def test_a_refusal_says_when_the_window_opens_or_closed():
    course = a_course(**OPEN_COURSE)

    early = refuse_outside_window(a_request(at=NOON), course)
    late = refuse_outside_window(a_request(at=CLOSE), course)

    assert early.details == {"opens_at": "2026-03-02T12:00:00Z"}
    assert late.details == {"closed_at": "2026-03-02T13:00:00Z"}


def test_a_moment_is_the_same_in_every_time_zone():
    tokyo = timezone(timedelta(hours=9))
    course = a_course(**OPEN_COURSE)

    assert refuse_outside_window(a_request(at=minute(1).astimezone(tokyo)), course) is None
    assert format_timestamp(minute(1).astimezone(tokyo)) == "2026-03-02T12:01:00Z"


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        pytest.param(NOON, "2026-03-02T12:00:00Z", id="whole-seconds"),
        pytest.param(NOON + MOMENT, "2026-03-02T12:00:00.000001Z", id="microseconds"),
    ],
)
def test_a_fraction_is_written_only_where_there_is_one(moment, text):
    assert format_timestamp(moment) == text


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        pytest.param({}, None, id="never-expires"),
        pytest.param({"expires_at": NOON}, None, id="at-its-last-moment"),
        pytest.param({"expires_at": NOON - MOMENT}, Reason.INVITE_EXPIRED, id="just-expired"),
        pytest.param({"used_by": "ada"}, None, id="used-by-the-same"),
        pytest.param({"used_by": "bob"}, Reason.INVITE_USED, id="used-by-another"),
        pytest.param(
            {"used_by": "bob", "expires_at": NOON - MOMENT}, Reason.INVITE_USED, id="both"
        ),
        pytest.param(
            {"used_by": "ada", "expires_at": NOON - MOMENT}, Reason.INVITE_EXPIRED, id="own-but-old"
        ),
    ],
)
def test_an_invitation_serves_one_learner_up_to_its_last_moment(facts, reason):
    assert reason_of(refuse_invitation(a_request("ada"), an_invitation(**facts))) is reason


CLOSED = {"enrollment_end": NOON}
NOT_YET = {"enrollment_start": NOON}
INVITE_ONLY = {"invite_only": True}
STAFF = LearnerContext(Learner("ada", "ada@uni.test", is_staff=True))


def invited(**facts):
    return LearnerContext(Learner("ada", "ada@uni.test"), an_invitation(**facts))


@pytest.mark.parametrize(
    ("course", "learner_context", "reason"),
    [
        pytest.param({}, NO_LEARNER, None, id="open-to-all"),
        pytest.param({}, invited(used_by="bob"), None, id="open-whatever-became-of-an-invitation"),
        pytest.param({}, invited(expires_at=NOON - MOMENT), None, id="open-with-an-old-invitation"),
        pytest.param(CLOSED, NO_LEARNER, Reason.ENROLLMENT_CLOSED, id="closed"),
        pytest.param(NOT_YET, NO_LEARNER, Reason.ENROLLMENT_NOT_OPEN, id="not-yet-open"),
        pytest.param(CLOSED, invited(), None, id="closed-but-invited"),
        pytest.param(NOT_YET, invited(), None, id="not-yet-open-but-invited"),
        pytest.param(CLOSED, invited(used_by="bob"), Reason.INVITE_USED, id="closed-used"),
        pytest.param(
            CLOSED, invited(expires_at=NOON - MOMENT), Reason.INVITE_EXPIRED, id="closed-expired"
        ),
        pytest.param(INVITE_ONLY, NO_LEARNER, Reason.INVITE_REQUIRED, id="invite-only"),
        pytest.param(INVITE_ONLY, invited(), None, id="invite-only-invited"),
        pytest.param(INVITE_ONLY, invited(used_by="ada"), None, id="invite-only-used-by-the-same"),
        pytest.param(
            INVITE_ONLY, invited(used_by="bob"), Reason.INVITE_USED, id="invite-only-used"
        ),
        pytest.param(
            INVITE_ONLY | CLOSED,
            NO_LEARNER,
            Reason.ENROLLMENT_CLOSED,
            id="closed-before-invite-only",
        ),
        pytest.param(INVITE_ONLY | CLOSED, STAFF, None, id="staff-as-the-learner"),
    ],
)
def test_an_invitation_opens_closed_and_invite_only_courses(course, learner_context, reason):
    assert reason_of(refuse_entry(a_request("ada"), a_course(**course), learner_context)) is reason


@pytest.mark.parametrize(
    ("by", "reason"),
    [
        pytest.param(CallerKind.LEARNER, Reason.ENROLLMENT_CLOSED, id="learner"),
        pytest.param(CallerKind.SERVER, Reason.ENROLLMENT_CLOSED, id="server"),
        pytest.param(CallerKind.STAFF, None, id="staff"),
        pytest.param(CallerKind.ADMIN, None, id="admin"),
    ],
)
def test_force_opens_a_closed_course_only_to_those_who_may_use_it(by, reason):
    closed = a_course(**CLOSED, **INVITE_ONLY)

    assert reason_of(refuse_entry(a_request(by=by, force=True), closed, NO_LEARNER)) is reason
    unforced = refuse_entry(a_request(by=by), closed, NO_LEARNER)
    assert reason_of(unforced) is Reason.ENROLLMENT_CLOSED


@pytest.mark.parametrize(
    ("capacity", "taken", "full"),
    [
        pytest.param(None, 1_000_000, False, id="unlimited"),
        pytest.param(2, 1, False, id="one-left"),
        pytest.param(2, 2, True, id="none-left"),
        pytest.param(2, 3, True, id="lowered-below-the-seats-taken"),
        pytest.param(0, 0, True, id="no-seats-at-all"),
    ],
)
def test_seats_are_given_up_to_the_capacity(capacity, taken, full):
    refusal = refuse_when_full(a_course(capacity=capacity), taken)

    assert reason_of(refusal) is (Reason.COURSE_FULL if full else None)
