"""What POST /enrollment does to an enrollment that is there: upstream's matrices, and our turns."""

from itertools import product

import pytest

from enrollment.domain.model import Course, Mode
from tests.support.gateway import AUDIT, CREDIT, HONOR, PROFESSIONAL, VERIFIED, ago, fresh

NO_ID = Mode(slug="no-id-professional")
PROVIDER = [{"namespace": "credit", "name": "provider_id", "value": "hogwarts"}]


def state(answer):
    assert answer.status_code == 200, answer.text
    return answer.json["mode"], answer.json["is_active"]


def stands(gateway, user, course_id):
    return state(gateway.get(f"enrollment/{user},{course_id}", gateway.server))


def cases():
    modes = {"H": "honor", "V": "verified"}
    for (m, a), (n, b) in product(product("HV", (True, False)), repeat=2):
        mismatch = m != n and a and not b
        yield pytest.param((modes[m], a), (modes[n], b), mismatch, id=f"{m}{a:d}-to-{n}{b:d}")


@pytest.mark.parametrize(("before", "after", "mismatch"), list(cases()))
def test_a_server_moves_an_enrollment_between_modes(gateway, before, after, mismatch):
    course_id, user = gateway.course(HONOR, VERIFIED), fresh("ann")
    first = gateway.enroll(gateway.edx, course_id, user, mode=before[0], is_active=before[1])
    assert state(first) == before
    answer = gateway.enroll(gateway.edx, course_id, user, mode=after[0], is_active=after[1])
    if mismatch:
        assert answer.status_code == 400
        assert "Enrollment mode mismatch" in answer.json["message"]
        assert stands(gateway, user, course_id) == before
    else:
        assert state(answer) == after == stands(gateway, user, course_id)


@pytest.mark.parametrize(
    ("modes", "chosen"),
    [
        ((AUDIT,), "audit"),
        ((AUDIT, VERIFIED), "audit"),
        ((AUDIT, VERIFIED), "verified"),
        ((PROFESSIONAL,), "professional"),
        ((NO_ID,), "no-id-professional"),
        ((VERIFIED, CREDIT), "verified"),
        ((VERIFIED, CREDIT), "credit"),
    ],
)
def test_a_server_deactivates_and_the_mode_is_kept(gateway, modes, chosen):
    course_id, user = gateway.course(*modes), fresh("ann")
    more = {"enrollment_attributes": PROVIDER} if chosen == "credit" else {}
    first = gateway.enroll(gateway.server, course_id, user, mode=chosen, **more)
    assert state(first) == (chosen, True)
    broken = gateway.enroll(gateway.server, course_id, user, mode=None, is_active="foo")
    assert broken.status_code == 400
    for _ in range(2):
        off = gateway.enroll(gateway.server, course_id, user, mode=chosen, is_active=False)
        assert state(off) == (chosen, False)
    default = gateway.enroll(gateway.server, course_id, user, mode="audit", is_active=False)
    assert default.status_code == (200 if AUDIT in modes else 400)


def test_deactivating_without_a_mode_keeps_it_and_coming_back_without_one_too(gateway):
    course_id, user = gateway.course(AUDIT, VERIFIED), fresh("ann")
    gateway.enroll(gateway.server, course_id, user, mode="verified")
    assert state(gateway.enroll(gateway.server, course_id, user, is_active=False)) == (
        "verified",
        False,
    )
    assert state(gateway.enroll(gateway.server, course_id, user)) == ("verified", True)


def test_created_stays_what_it_was_through_all_changes(gateway):
    course_id, user = gateway.course(AUDIT, VERIFIED), fresh("ann")
    steps = [{}, {"mode": "verified"}, {"is_active": False}, {"is_active": True}]
    answers = [gateway.enroll(gateway.server, course_id, user, **step) for step in steps]
    assert len({answer.json["created"] for answer in answers}) == 1


def test_deactivating_where_nothing_is_makes_an_inactive_record(gateway):
    course_id, user = gateway.course(AUDIT, enrollment_end=ago(days=1)), fresh("ann")
    assert state(gateway.enroll(gateway.server, course_id, user, is_active=False)) == (
        "audit",
        False,
    )


@pytest.mark.parametrize("who", ["edx", "admin"])
def test_a_server_moves_to_an_expired_mode_but_never_begins_in_one(gateway, who):
    late = Mode(slug="verified", expires_at=ago(days=1))
    course_id, user = gateway.course(AUDIT, late), fresh("ann")
    caller = getattr(gateway, who)
    assert gateway.enroll(caller, course_id, user, mode="verified").status_code == 400
    gateway.enroll(caller, course_id, user, mode="audit")
    assert state(gateway.enroll(caller, course_id, user, mode="verified")) == ("verified", True)
    assert state(gateway.enroll(caller, course_id, user, is_active=False)) == ("verified", False)


def test_staff_do_not_move_to_an_expired_mode(gateway):
    late = Mode(slug="verified", expires_at=ago(days=1))
    course_id, user = gateway.course(AUDIT, late), fresh("ann")
    gateway.enroll(gateway.staff, course_id, user)
    answer = gateway.enroll(gateway.staff, course_id, user, mode="verified")
    assert (answer.status_code, answer.json["code"]) == (400, "mode_expired")


def test_a_learner_s_own_withdrawal_is_heard_and_changes_nothing(gateway):
    course_id, user = gateway.course(AUDIT), fresh("ann")
    gateway.enroll(gateway.learner(user), course_id)
    answer = gateway.enroll(gateway.learner(user), course_id, is_active=False)
    assert state(answer) == ("audit", True) == stands(gateway, user, course_id)


def test_a_learner_who_was_verified_comes_back_as_that(gateway):
    course_id, user = gateway.course(AUDIT, VERIFIED), fresh("ann")
    gateway.enroll(gateway.server, course_id, user, mode="verified")
    gateway.enroll(gateway.server, course_id, user, is_active=False)
    assert state(gateway.enroll(gateway.learner(user), course_id)) == ("verified", True)


def test_coming_back_to_a_full_or_closed_course_is_judged_like_coming(gateway):
    course_id, users = gateway.course(AUDIT, capacity=1), [fresh("ann"), fresh("bob")]
    gateway.enroll(gateway.server, course_id, users[0])
    gateway.enroll(gateway.server, course_id, users[0], is_active=False)
    gateway.enroll(gateway.server, course_id, users[1])
    answer = gateway.enroll(gateway.server, course_id, users[0])
    assert (answer.status_code, answer.json["code"]) == (400, "course_full")


def test_attributes_are_replaced_and_applied_to_who_is_in_already(gateway):
    course_id, user = gateway.course(AUDIT, VERIFIED), fresh("ann")
    orders = [
        {"namespace": "order", "name": "order_number", "value": f"EDX-{number}000"}
        for number in (1, 2, 3)
    ]
    for order, mode in zip(orders, ("verified", "audit", "audit"), strict=True):
        answer = gateway.enroll(
            gateway.server, course_id, user, mode=mode, enrollment_attributes=[order]
        )
        assert state(answer) == (mode, True)
    history = gateway.get(f"enrollment/{user},{course_id}/history", gateway.server).json["events"]
    kept = [event["data"]["after"]["attributes"] for event in history]
    assert kept == [[order] for order in orders]


@pytest.mark.parametrize("is_active", [True, None])
def test_a_course_without_modes_offers_audit(gateway, is_active):
    course_id, user = gateway.course(), fresh("ann")
    answer = gateway.enroll(gateway.learner(user), course_id, mode="audit", is_active=is_active)
    assert state(answer) == ("audit", True)


LEARNER, SERVER = "learner", "edx"
CLOSED, FULL = {"enrollment_end": ago(days=1)}, {"capacity": 1}
ACTIVE, INACTIVE = ("audit", True), ("audit", False)
PAID, FORMERLY_PAID = ("verified", True), ("verified", False)


@pytest.mark.parametrize(
    ("who", "before", "course", "body", "after"),
    [
        (LEARNER, None, {}, {}, ACTIVE),
        (LEARNER, None, {}, {"is_active": False}, INACTIVE),
        (SERVER, None, CLOSED, {"is_active": False}, INACTIVE),
        (LEARNER, ACTIVE, CLOSED, {}, ACTIVE),
        (LEARNER, ACTIVE, FULL, {}, ACTIVE),
        (SERVER, ACTIVE, CLOSED | FULL, {"mode": "audit"}, ACTIVE),
        (LEARNER, ACTIVE, {}, {"is_active": False}, ACTIVE),
        (LEARNER, PAID, {"modes": (VERIFIED,)}, {}, PAID),
        (LEARNER, PAID, {}, {"mode": "audit"}, PAID),
        (LEARNER, INACTIVE, {}, {}, ACTIVE),
        (LEARNER, INACTIVE, CLOSED, {}, "enrollment_closed"),
        (LEARNER, INACTIVE, {"invite_only": True}, {}, "invite_required"),
        (SERVER, ACTIVE, CLOSED | FULL, {"mode": "verified"}, PAID),
        (SERVER, PAID, CLOSED | FULL, {"mode": "audit", "is_active": True}, ACTIVE),
        (SERVER, PAID, CLOSED, {"is_active": False}, FORMERLY_PAID),
        (SERVER, PAID, CLOSED, {"is_active": False, "mode": "verified"}, FORMERLY_PAID),
        (SERVER, FORMERLY_PAID, {}, {"is_active": True}, PAID),
        (SERVER, FORMERLY_PAID, CLOSED, {"is_active": True}, "enrollment_closed"),
        (SERVER, PAID, {}, {"is_active": False, "mode": "audit"}, "mode_mismatch"),
        (SERVER, INACTIVE, CLOSED, {"mode": "verified", "is_active": False}, FORMERLY_PAID),
        (SERVER, INACTIVE, {}, {"mode": "verified"}, PAID),
        (SERVER, FORMERLY_PAID, {}, {}, PAID),
        (SERVER, FORMERLY_PAID, {"modes": (AUDIT,)}, {}, ACTIVE),
    ],
)
def test_each_turn_of_an_enrollment(gateway, who, before, course, body, after):
    """The rows of the state machine of Open edX, with what is decided otherwise here."""
    course_id, user = gateway.course(AUDIT, VERIFIED), fresh("ann")
    if before is not None:
        mode, is_active = before
        gateway.enroll(gateway.server, course_id, user, mode=mode)
        if not is_active:
            gateway.enroll(gateway.server, course_id, user, is_active=False)
    changed = {"modes": (AUDIT, VERIFIED), **course}
    gateway.save(Course(course_id=course_id, **changed))
    caller = gateway.learner(user) if who is LEARNER else gateway.edx

    answer = gateway.enroll(caller, course_id, user, **body)

    if isinstance(after, str):
        assert (answer.status_code, answer.json["code"]) == (400, after)
        assert stands(gateway, user, course_id) == before
    else:
        assert state(answer) == after == stands(gateway, user, course_id)
