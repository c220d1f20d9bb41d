"""4b and 4c: force, modes, and who may choose which. A number is that of the conformance table."""

import pytest

from tests.support.openedx_client import (
    KEY,
    PAST,
    OpenEdxClient,
    active,
    as_learner,
    expired,
    ok,
)

PROVIDER = {"namespace": "credit", "name": "provider_id", "value": "hogwarts"}
NO_PROVIDER = {"namespace": "credit", "name": "invalid", "value": "hogwarts"}


def order(number: str) -> dict[str, str]:
    return {"namespace": "order", "name": "order_number", "value": number}


def over(client: OpenEdxClient) -> str:
    """A course with one paid mode, whose window is over."""
    return client.course("verified", enrollment_end=PAST)


@pytest.mark.parametrize("force", [pytest.param(False, id="026"), pytest.param(True, id="027")])
def test_a_learner_cannot_force_a_paid_mode(form, force):
    course, user = over(form), form.learner()
    refused = form.enroll(as_learner(user), course, mode="verified", force_enrollment=force)
    assert refused.status_code == 403
    message = "User does not have permission to create enrollment with mode [verified]."
    assert refused.json()["message"] == message
    assert form.state(course, user) is None


def test_028_global_staff_force_past_the_window(form):
    course, user = over(form), form.learner()
    asked = {"user": user, "mode": "verified", "force_enrollment": True}
    shown = ok(form.enroll(form.staff(), course, **asked))
    assert (shown["is_active"], shown["mode"]) == (True, "verified")


def test_029_without_force_the_window_holds_for_global_staff(form):
    course, user = over(form), form.learner()
    asked = {"user": user, "mode": "verified", "force_enrollment": False}
    refused = form.enroll(form.staff(), course, **asked)
    assert refused.status_code == 400
    assert refused.json()["message"] == (
        "An error occurred while creating the new course enrollment for user "
        f"'{user}' in course '{course}'"
    )


def test_030_the_key_chooses_a_professional_mode(form):
    course, user = form.course("professional"), form.learner()
    assert form.enrolled(course, user, mode="professional")["is_active"] is True
    assert form.state(course, user) == active("professional")


@pytest.mark.parametrize(
    "modes",
    [
        pytest.param(["audit", "verified"], id="031"),
        pytest.param(["verified", "audit"], id="032"),
    ],
)
def test_the_key_changes_the_mode_both_ways(form, modes):
    course, user = form.course("audit", "verified"), form.learner()
    for mode in modes:
        assert form.enrolled(course, user, mode=mode)["mode"] == mode
    assert form.state(course, user) == active(modes[-1])


def test_033_a_learner_cannot_move_into_a_paid_mode(form):
    course, user = form.course("audit", "verified"), form.learner()
    ok(form.enroll(as_learner(user), course))
    assert form.enroll(as_learner(user), course, mode="verified").status_code == 403
    assert form.state(course, user) == active("audit")


def test_034_global_staff_enroll_others_in_a_paid_mode(form):
    course, user = form.course("audit", "verified"), form.learner()
    assert ok(form.enroll(form.staff(), course, user=user, mode="verified"))["mode"] == "verified"


def test_035_a_learner_cannot_enroll_others_in_a_paid_mode(form):
    course, user = form.course("audit", "verified"), form.learner()
    refused = form.enroll(as_learner(form.learner()), course, user=user, mode="verified")
    assert (refused.status_code, refused.content) == (404, b"")


def test_036_the_key_moves_into_an_expired_mode(form):
    course, user = form.course("audit", expired("verified")), form.learner()
    form.enrolled(course, user, mode="audit")
    assert form.enrolled(course, user, mode="verified")["mode"] == "verified"


def test_037_a_learner_does_not_move_into_an_expired_mode(form):
    course, user = form.course("audit", expired("verified")), form.learner()
    ok(form.enroll(as_learner(user), course))
    assert form.enroll(as_learner(user), course, mode="verified").status_code == 403
    assert form.state(course, user) == active("audit")


def test_038_the_key_moves_into_credit_with_a_provider(form):
    course, user = form.course("audit", "credit"), form.learner()
    form.enrolled(course, user)
    shown = form.enrolled(course, user, mode="credit", enrollment_attributes=[PROVIDER])
    assert shown["mode"] == "credit"
    assert form.stored(course, user)["attributes"] == [PROVIDER]


def test_039_credit_without_its_provider_is_400_and_changes_nothing(form):
    course, user = form.course("audit", "credit"), form.learner()
    form.enrolled(course, user)
    asked = {"user": user, "mode": "credit", "enrollment_attributes": [NO_PROVIDER]}
    refused = form.enroll(KEY, course, **asked)
    assert refused.status_code == 400
    assert refused.json()["message"] == (
        "Missing enrollment attributes: requested mode=credit "
        "required attributes=['credit:provider_id']"
    )
    assert form.state(course, user) == active("audit")


def test_040_attributes_are_stored_with_a_new_enrollment(form):
    course, user = form.course("audit", "verified"), form.learner()
    form.enrolled(course, user, mode="verified", enrollment_attributes=[order("EDX-1000")])
    assert form.stored(course, user)["attributes"] == [order("EDX-1000")]


def test_041_attributes_of_a_later_request_replace_the_earlier_ones(form):
    course, user = form.course("audit", "verified"), form.learner()
    form.enrolled(course, user, mode="verified", enrollment_attributes=[order("EDX-1000")])
    form.enrolled(course, user, mode="audit", enrollment_attributes=[order("EDX-2000")])
    assert form.stored(course, user)["attributes"] == [order("EDX-2000")]
