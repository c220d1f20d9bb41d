"""What learners may not do to their own enrollments."""

import pytest

from api_gateway.auth.caller import Caller
from enrollment.domain.codes import CallerKind, Code, Reason
from enrollment.domain.events import EnrollmentState
from enrollment.domain.model import Attribute, Course, Mode
from enrollment.storage import courses
from tests.support.in_process_service import ADA, ADMIN, COURSE, SERVER, request, row

STAFF_ADA = Caller("user:ada", CallerKind.STAFF, username="ada")
LEAVER = Caller("user:ada", CallerKind.LEAVER, username="ada")
ORDER = (Attribute("order", "order_number", "7"),)
GONE = {"is_active": False}


@pytest.fixture
def paid(world):
    """Ada is enrolled in a paid mode."""
    modes = (Mode(slug="audit"), Mode(slug="verified", min_price=49), Mode(slug="honor"))
    with world.sessions.begin() as session:
        courses.save(session, Course(course_id=COURSE, modes=modes, cohorts=("red", "blue")))
    world.most_seats[COURSE] = None
    world.ask(request("ada", mode="verified"), caller=SERVER)
    world.work()
    return world


def ask(world, caller=ADA, **change):
    (single,) = world.ask(request("ada", **change), caller=caller)
    world.work()
    return world.answer(single)[0]


@pytest.mark.parametrize("by", [SERVER, ADMIN])
def test_a_paid_mode_that_was_taken_back_is_not_taken_again(paid, by):
    ask(paid, by, **GONE)

    assert ask(paid) is Code.REACTIVATED
    assert paid.standing("ada") == EnrollmentState("audit", is_active=True)
    paid.check()


def test_a_paid_mode_that_a_file_took_back_is_not_taken_again_either(paid):
    paid.send([row("ada", is_active=False)])
    paid.work()

    ask(paid)

    assert paid.standing("ada").mode == "audit"


@pytest.mark.parametrize("by", [LEAVER, STAFF_ADA])
def test_who_left_by_their_own_will_comes_back_in_the_paid_mode(paid, by):
    assert ask(paid, by, **GONE) is Code.DEACTIVATED

    assert ask(paid) is Code.REACTIVATED
    assert paid.standing("ada") == EnrollmentState("verified", is_active=True)


@pytest.mark.parametrize("by", [SERVER, ADMIN, STAFF_ADA])
def test_privileged_callers_bring_back_the_paid_mode(paid, by):
    ask(paid, SERVER, **GONE)

    ask(paid, by)

    assert paid.standing("ada").mode == "verified"


def test_a_free_mode_is_kept_whoever_withdrew(paid):
    ask(paid, SERVER, mode="honor")
    ask(paid, SERVER, **GONE)

    ask(paid)

    assert paid.standing("ada") == EnrollmentState("honor", is_active=True)


def test_a_withdrawal_just_before_in_the_same_batch_counts(paid):
    left = paid.ask(request("ada", **GONE), caller=SERVER)
    back = paid.ask(request("ada"), caller=ADA)

    paid.work()

    assert [paid.answer(one)[0] for one in (*left, *back)] == [Code.DEACTIVATED, Code.REACTIVATED]
    assert paid.standing("ada").mode == "audit"


def test_a_first_record_of_another_caller_in_the_same_batch_counts(paid):
    paid.ask(request("bob", mode="verified", **GONE), caller=SERVER)
    paid.ask(request("bob"), caller=Caller("user:bob", CallerKind.LEARNER, username="bob"))

    paid.work()

    assert paid.standing("bob") == EnrollmentState("audit", is_active=True)


def test_in_one_batch_a_learner_who_left_comes_back_as_before(paid):
    paid.ask(request("ada", **GONE), caller=LEAVER)
    paid.ask(request("ada"), caller=ADA)

    paid.work()

    assert paid.standing("ada").mode == "verified"


@pytest.mark.parametrize("by", [ADA, LEAVER])
def test_attributes_and_cohort_of_a_learners_single_are_ignored(paid, by):
    assert ask(paid, by, attributes=ORDER, cohort="blue") is Code.UNCHANGED

    assert paid.standing("ada") == EnrollmentState("verified", is_active=True)
    assert ask(paid, SERVER, attributes=ORDER, cohort="blue") is Code.UPDATED
    assert paid.standing("ada").cohort == "blue"


@pytest.mark.parametrize("more", [{"cohort": "blue"}, {"enrollment_attributes": "[]"}])
def test_in_rows_of_a_learner_they_are_not_permitted(paid, more):
    file = paid.send([row("ada"), row("ada", **more)], caller=ADA)
    paid.work()

    assert [(one.code, one.reason) for one in paid.outcomes(file)] == [
        (Code.UNCHANGED, None),
        (Code.REFUSED, Reason.NOT_PERMITTED),
    ]


def test_the_latest_events_are_read_only_where_a_learner_comes_back(paid, statements):
    ask(paid, SERVER, **GONE)
    statements.clear()
    ask(paid, SERVER, **GONE)
    assert not [sql for sql in statements if sql.startswith("SELECT event.id, event.caller")]

    ask(paid, ADA)
    assert len([sql for sql in statements if sql.startswith("SELECT event.id, event.caller")]) == 1
