"""What who waits is told, in the statuses and to the letter that upstream's clients know."""

import pytest

from enrollment.domain.model import Invitation
from enrollment.storage import invitations
from tests.support.gateway import (
    AUDIT,
    CREDIT,
    HONOR,
    PROFESSIONAL,
    VERIFIED,
    Gateway,
    ago,
    ahead,
    fresh,
    utc_now,
)
from worker.processing.processor import Processor
from worker.processing.strategies import SiteRules
from worker.processing.transaction import BatchTransaction

UNKNOWN = "course-v1:No+Such+Course"
PROVIDER = [{"namespace": "credit", "name": "provider_id", "value": "hogwarts"}]


def refused(answer, status, code, message):
    body = answer.json
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    assert (body["message"], body["detail"], body["code"], body["status"]) == (
        message,
        message,
        code,
        status,
    )
    assert body["type"] == f"/docs/reasons#{code}"
    return body


def general(user, course_id):
    return (
        f"An error occurred while creating the new course enrollment for user '{user}' "
        f"in course '{course_id}'"
    )


def invite(gateway, course_id, email, **members):
    with gateway.sessions.begin() as session:
        invitations.save(session, Invitation(course_id, email, **members), now=utc_now())


@pytest.mark.parametrize(
    ("members", "code", "fact"),
    [
        ({"enrollment_start": ahead(days=1)}, "enrollment_not_open", "opens_at"),
        ({"enrollment_end": ago(days=1)}, "enrollment_closed", "closed_at"),
        ({"invite_only": True}, "invite_required", None),
        ({"capacity": 0}, "course_full", "capacity"),
    ],
)
def test_who_may_not_in_hears_upstream_s_general_words_and_our_reason(gateway, members, code, fact):
    course_id, user = gateway.course(AUDIT, **members), fresh("ann")
    answer = gateway.enroll(gateway.server, course_id, user)
    body = refused(answer, 400, code, general(user, course_id))
    assert body["outcome"]["reason"] == code
    assert fact is None or fact in body["outcome"]
    assert gateway.get(f"enrollment/{user},{course_id}", gateway.server).content == b""


@pytest.mark.parametrize(
    ("members", "code"),
    [
        ({"used_by": "somebody else"}, "invite_used"),
        ({"expires_at": ago(days=1)}, "invite_expired"),
    ],
)
def test_an_invitation_that_no_longer_serves_refuses(gateway, members, code):
    course_id, email = gateway.course(AUDIT, invite_only=True), fresh("ann") + "@example.org"
    user = gateway.person(email=email)
    invite(gateway, course_id, email, **members)
    answer = gateway.enroll(gateway.server, course_id, user)
    refused(answer, 400, code, general(user, course_id))


def test_an_invitation_opens_a_closed_course(gateway):
    course_id = gateway.course(AUDIT, invite_only=True, enrollment_end=ago(days=1))
    email = fresh("ann") + "@example.org"
    user = gateway.person(email=email)
    invite(gateway, course_id, email)
    assert gateway.enroll(gateway.server, course_id, user).status_code == 200


def test_an_unknown_course_is_400_and_nothing_becomes_of_it(gateway):
    user = fresh("ann")
    answer = gateway.enroll(gateway.server, UNKNOWN, user)
    refused(answer, 400, "course_not_found", f"No course '{UNKNOWN}' found for enrollment")
    assert gateway.get(f"enrollment?user={user}", gateway.server).json == []


def test_an_unavailable_mode_is_400_with_the_course_and_the_words_that_coordinators_read(gateway):
    course_id, user = gateway.course(PROFESSIONAL), fresh("ann")
    answer = gateway.enroll(gateway.learner(user), course_id)
    words = (
        f"The [audit] course mode is expired or otherwise unavailable for course run [{course_id}]."
    )
    body = refused(answer, 400, "mode_unavailable", words)
    details = body["course_details"]
    assert details["course_id"] == course_id
    assert [mode["slug"] for mode in details["course_modes"]] == ["professional"]


def test_an_expired_mode_is_400_with_the_modes_that_are_left(gateway):
    late = VERIFIED.__class__(slug="verified", expires_at=ago(days=1))
    course_id, user = gateway.course(AUDIT, late), fresh("ann")
    answer = gateway.enroll(gateway.server, course_id, user, mode="verified")
    words = f"The [verified] course mode is expired or otherwise unavailable for course run [{course_id}]."
    body = refused(answer, 400, "mode_expired", words)
    assert [mode["slug"] for mode in body["course_details"]["course_modes"]] == ["audit"]


def test_a_mode_mismatch_is_told_before_an_unavailable_mode(gateway):
    course_id, user = gateway.course(HONOR, VERIFIED), fresh("ann")
    gateway.enroll(gateway.server, course_id, user, mode="verified")
    for mode in ("honor", "no-such-mode"):
        answer = gateway.enroll(gateway.server, course_id, user, mode=mode, is_active=False)
        words = (
            f"Enrollment mode mismatch: active mode=verified, requested mode={mode}. "
            "Won't deactivate."
        )
        refused(answer, 400, "mode_mismatch", words)
    shown = gateway.get(f"enrollment/{user},{course_id}", gateway.server).json
    assert (shown["mode"], shown["is_active"]) == ("verified", True)


CREDIT_WORDS = (
    "Missing enrollment attributes: requested mode=credit "
    "required attributes=['credit:provider_id']"
)


OTHER_NAME = [{"namespace": "credit", "name": "invalid", "value": "hogwarts"}]


@pytest.mark.parametrize("attributes", [None, [], OTHER_NAME])
@pytest.mark.parametrize("first", [True, False])
def test_credit_needs_its_provider_unless_it_is_created_without_attributes(
    gateway, attributes, first
):
    course_id, user = gateway.course(AUDIT, CREDIT), fresh("ann")
    if not first:
        gateway.enroll(gateway.server, course_id, user)
    more = {} if attributes is None else {"enrollment_attributes": attributes}
    answer = gateway.enroll(gateway.server, course_id, user, mode="credit", **more)
    is_accepted = first and not attributes
    if not is_accepted:
        refused(answer, 400, "attributes_missing", CREDIT_WORDS)
    shown = gateway.get(f"enrollment/{user},{course_id}", gateway.server)
    is_stored = is_accepted or not first
    assert (shown.json["mode"] if shown.content else None) == (
        None if not is_stored else "credit" if is_accepted else "audit"
    )


def test_credit_with_its_provider_is_given(gateway):
    course_id, user = gateway.course(AUDIT, CREDIT), fresh("ann")
    gateway.enroll(gateway.server, course_id, user)
    answer = gateway.enroll(
        gateway.server, course_id, user, mode="credit", enrollment_attributes=PROVIDER
    )
    assert (answer.status_code, answer.json["mode"]) == (200, "credit")


def test_an_unknown_cohort_is_400_and_nothing_is_stored(gateway):
    course_id, user = gateway.course(AUDIT, cohorts=("red",)), fresh("ann")
    answer = gateway.enroll(gateway.server, course_id, user, cohort="blue")
    words = "An error occured while adding to cohort [blue]"
    refused(answer, 400, "cohort_not_found", words)
    assert gateway.get(f"enrollment/{user},{course_id}", gateway.server).content == b""
    assert gateway.enroll(gateway.server, course_id, user, cohort="red").status_code == 200


def test_where_learners_must_be_known_an_unknown_one_is_406(gateway):
    course_id, user, careless = gateway.course(AUDIT), fresh("ann"), gateway.processor
    transaction = BatchTransaction(rules=SiteRules(accepts_unknown_learners=False))
    gateway.processor = Processor(sessions=gateway.sessions, transaction=transaction)
    answer = gateway.enroll(gateway.server, course_id, user)
    gateway.processor = careless
    refused(answer, 406, "learner_not_found", f"The user {user} does not exist.")


def test_an_unknown_email_is_406_and_a_known_one_is_enrolled(gateway):
    course_id, email = gateway.course(AUDIT), fresh("ann") + "@example.org"
    answer = gateway.enroll(gateway.server, course_id, email=email)
    words = f"The user with the email address {email} does not exist."
    refused(answer, 406, "learner_not_found", words)
    user = gateway.person(email=email)
    for who in (gateway.server, gateway.staff, gateway.edx):
        answer = gateway.enroll(who, course_id, email=email.upper())
        assert (answer.status_code, answer.json["user"]) == (200, user)


def test_a_key_alone_that_names_nobody_is_406(small):
    answer = small.enroll(small.server, small.course(AUDIT))
    refused(answer, 406, "learner_not_found", "The user  does not exist.")


def test_the_same_again_is_200_with_the_same_object(gateway):
    course_id, user = gateway.course(AUDIT), fresh("ann")
    first = gateway.enroll(gateway.server, course_id, user)
    assert [gateway.enroll(gateway.server, course_id, user).json for _ in range(2)] == [
        first.json
    ] * 2


def test_who_is_in_stays_in_a_course_that_closed_or_filled_up(gateway):
    course_id, user = gateway.course(AUDIT, capacity=1), fresh("ann")
    first = gateway.enroll(gateway.server, course_id, user)
    again = gateway.enroll(gateway.server, course_id, user)
    assert (again.status_code, again.json["created"]) == (200, first.json["created"])
    other = gateway.enroll(gateway.server, course_id, fresh("bob"))
    assert other.json["code"] == "course_full"


def test_a_superseded_wish_is_200_with_the_object_as_it_is(gateway):
    course_id, user = gateway.course(AUDIT, VERIFIED), fresh("ann")
    gateway.enroll(gateway.admin, course_id, user, is_active=False)
    late = gateway.enroll(gateway.admin, course_id, user, requested_at="2020-01-01T00:00:00Z")
    assert (late.status_code, late.json["is_active"]) == (200, False)


def test_a_wish_from_the_future_is_400(gateway):
    at = ahead(days=1).isoformat()
    answer = gateway.enroll(gateway.admin, gateway.course(AUDIT), fresh("ann"), requested_at=at)
    assert (answer.status_code, answer.json["code"]) == (400, "invalid_row")


def test_a_cancelled_request_is_409(gateway: Gateway):
    body = {"user": fresh("ann"), "course_id": gateway.course(AUDIT)}
    keyed = {"Idempotency-Key": fresh("key-")}
    accepted = gateway.post("enrollment", gateway.server, json=body, headers=keyed)
    gateway.post(accepted.headers["location"] + "/cancel", gateway.server)
    again = gateway.answered(
        "POST", "enrollment", gateway.server, json=body, headers=keyed | {"Prefer": "wait=20"}
    )
    assert (again.status_code, again.json["code"]) == (409, "cancelled")
    assert again.json["message"]


EARLY_REFUSALS = [
    ({}, "Course ID must be specified to create a new enrollment."),
    ({"course_details": {}}, "Course ID must be specified to create a new enrollment."),
    (
        {"course_details": {"course_id": ""}},
        "Course ID must be specified to create a new enrollment.",
    ),
    ({"course_details": "x"}, "Course ID must be specified to create a new enrollment."),
    (
        {"course_details": {"course_id": "invalidcourse"}},
        "No course 'invalidcourse' found for enrollment",
    ),
    ({"course_details": {"course_id": "a+b+c"}}, "No course 'a+b+c' found for enrollment"),
    ({"course_details": {"course_id": 1}}, "No course '1' found for enrollment"),
    (
        {"course_details": {"course_id": UNKNOWN}, "is_active": "foo"},
        "'foo' is an invalid enrollment activation status.",
    ),
    (
        {"course_details": {"course_id": UNKNOWN}, "is_active": 1},
        "'1' is an invalid enrollment activation status.",
    ),
    (
        {"course_details": {"course_id": UNKNOWN}, "force_enrollment": "yes"},
        "'yes' is an invalid force enrollment status.",
    ),
    (
        {
            "course_details": {"course_id": UNKNOWN},
            "enrollment_attributes": [{"namespace": "a", "name": "b"}],
        },
        "'value' not in enrollment attribute",
    ),
]


@pytest.mark.parametrize(("body", "words"), EARLY_REFUSALS)
def test_what_can_be_seen_at_once_is_400_at_once(small, body, words):
    answer = small.post("enrollment", small.server, json={"user": "ann", **body})
    refused(answer, 400, "invalid_row", words)
