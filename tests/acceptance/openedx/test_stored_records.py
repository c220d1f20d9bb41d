"""4l: rules of Open edX's inner layers, as callers see them. A number is that of the table."""

import pytest

from tests.support.openedx_client import (
    ANONYMOUS,
    KEY,
    PAST,
    OpenEdxClient,
    State,
    active,
    as_learner,
    expired,
    inactive,
    ok,
)

PROVIDER = {"namespace": "credit", "name": "provider_id", "value": "hogwarts"}


def read(client: OpenEdxClient, course: str, user: str) -> object:
    return ok(client.get(f"/enrollment/{user},{course}", KEY))


def is_unavailable(client: OpenEdxClient, course: str, **members: object) -> None:
    """Asks for a mode that cannot be had; nobody is enrolled."""
    user = client.learner()
    refused = client.enroll(KEY, course, user=user, **members)
    assert refused.status_code == 400
    assert "course mode is expired or otherwise unavailable" in refused.json()["message"]
    assert refused.json()["course_details"]["course_id"] == course
    assert client.state(course, user) is None


@pytest.mark.parametrize(
    ("modes", "mode"),
    [
        pytest.param(["honor"], "honor", id="146-honor"),
        pytest.param(["professional"], "professional", id="146-professional"),
        pytest.param(["no-id-professional"], "no-id-professional", id="146-no-id"),
    ],
)
def test_what_was_answered_is_what_is_read(form, modes, mode):
    course, user = form.course(*modes), form.learner()
    shown = form.enrolled(course, user, mode=mode)
    assert shown["mode"] == mode
    assert read(form, course, user) == shown


@pytest.mark.parametrize(
    ("modes", "default"),
    [
        pytest.param(["audit", "verified", "credit"], "audit", id="147-site"),
        pytest.param(["verified", "audit"], "audit", id="147-audit"),
        pytest.param(["honor", "verified"], "honor", id="147-honor"),
    ],
)
def test_without_a_mode_it_is_the_default_of_the_course(form, modes, default):
    assert form.enrolled(form.course(*modes), form.learner())["mode"] == default


@pytest.mark.parametrize(
    "modes",
    [
        pytest.param(["professional"], id="148-one"),
        pytest.param(["verified"], id="148-other"),
        pytest.param(["verified", "professional"], id="148-two"),
    ],
)
def test_without_a_default_it_is_400(form, modes):
    is_unavailable(form, form.course(*modes))


def test_149_a_mode_of_another_course_is_400(form):
    is_unavailable(form, form.course("professional"), mode="verified")


def test_150_a_deactivated_enrollment_keeps_its_mode(form):
    course, user = form.course("audit", "verified"), form.learner()
    form.enrolled(course, user, mode="verified")
    shown = form.enrolled(course, user, is_active=False)
    assert (shown["mode"], shown["is_active"]) == ("verified", False)


def test_151_who_has_no_enrollment_gets_an_inactive_one(form):
    course, user = form.course("audit"), form.learner()
    assert form.enrolled(course, user, is_active=False)["is_active"] is False
    assert form.state(course, user) == inactive("audit")


@pytest.mark.parametrize("number", [0, 1, 3])
def test_152_as_many_are_listed_as_there_are(form, number):
    user = form.learner()
    courses = [form.course() for _ in range(number)]
    for course in courses:
        form.enrolled(course, user)
    found = ok(form.get("/enrollment", KEY, user=user))
    assert [one["course_details"]["course_id"] for one in found] == courses


def test_154_a_mode_can_be_changed_again_and_again(form):
    course, user = form.course("audit", "honor", "verified"), form.learner()
    for mode in ("audit", "honor", "verified"):
        assert form.enrolled(course, user, mode=mode)["mode"] == mode
        assert form.state(course, user) == active(mode)


def test_155_attributes_are_stored_as_they_were_sent(form):
    course, user = form.course("audit", "credit"), form.learner()
    form.enrolled(course, user)
    form.enrolled(course, user, mode="credit", enrollment_attributes=[PROVIDER])
    assert form.stored(course, user)["attributes"] == [PROVIDER]


def test_156_a_course_lists_its_three_modes(edx):
    shown = ok(edx.get(f"/course/{edx.course('audit', 'honor', 'verified')}", ANONYMOUS))
    assert {mode["slug"] for mode in shown["course_modes"]} == {"audit", "honor", "verified"}


def test_157_details_are_those_of_the_last_change(edx):
    course = edx.course("audit", course_name="Before")
    before = edx.get(f"/course/{course}", ANONYMOUS)
    again = {"If-None-Match": before.headers["etag"]}
    assert edx.get(f"/course/{course}", again).status_code == 304
    edx.course("audit", course_name="After", course_id=course)
    after = edx.get(f"/course/{course}", again)
    assert (before.json()["course_name"], ok(after)["course_name"]) == ("Before", "After")


def test_158_staff_do_not_move_into_an_expired_mode(form):
    course, user = form.course("audit", expired("verified")), form.learner()
    form.enrolled(course, user)
    refused = form.enroll(form.staff(), course, user=user, mode="verified")
    assert refused.status_code == 400
    assert form.state(course, user) == active("audit")


def test_159_the_key_moves_into_an_expired_mode(form):
    course, user = form.course("audit", expired("verified")), form.learner()
    form.enrolled(course, user)
    assert form.enrolled(course, user, mode="verified")["mode"] == "verified"


@pytest.mark.parametrize("by", ["staff", "key"])
def test_160_an_expired_mode_is_no_reason_to_stay(form, by):
    course, user = form.course("audit", expired("verified")), form.learner()
    form.enrolled(course, user)
    form.enrolled(course, user, mode="verified")
    caller = form.staff() if by == "staff" else KEY
    assert ok(form.enroll(caller, course, user=user, is_active=False))["is_active"] is False


def test_161_the_answer_is_what_was_stored(form):
    course, user = form.course("honor"), form.learner()
    shown = form.enrolled(course, user, mode="honor")
    assert form.state(course, user) == State(shown["mode"], shown["is_active"])
    assert (shown["user"], shown["is_active"]) == (user, True)


def test_162_who_is_deactivated_is_not_enrolled(form):
    course, user = form.course(), form.learner()
    form.enrolled(course, user)
    form.enrolled(course, user, is_active=False)
    assert ok(form.get("/enrollment", KEY, user=user)) == []


def test_163_a_list_is_in_the_order_of_creation(form):
    user, courses = form.learner(), [form.course() for _ in range(4)][::-1]
    for course in courses:
        form.enrolled(course, user)
    form.enrolled(courses[0], user, is_active=False)
    form.enrolled(courses[0], user)
    found = ok(form.get("/enrollment", KEY, user=user))
    assert [one["course_details"]["course_id"] for one in found] == courses


def test_165_inactive_ones_are_on_the_list_of_all_alone(form):
    user, (one, two) = form.learner(), (form.course(), form.course())
    for course in (one, two):
        form.enrolled(course, user)
    form.enrolled(one, user, is_active=False)
    (active,) = ok(form.get("/enrollment", KEY, user=user))
    every = ok(form.get("/enrollments", KEY, username=user))["results"]
    assert active["course_details"]["course_id"] == two
    assert {row["course_id"]: row["is_active"] for row in every} == {one: False, two: True}


def test_166_before_there_is_none_and_after_there_is_what_was_answered(form):
    course, user = form.course(), form.learner()
    assert form.state(course, user) is None
    shown = form.enrolled(course, user)
    assert read(form, course, user) == shown


def test_167_a_roster_is_in_the_order_of_creation(edx):
    course, users = edx.course(), [edx.learner() for _ in range(10)]
    for user in users:
        edx.enrolled(course, user)
    rows = ok(edx.get("/enrollments", KEY, course_id=course))["results"]
    assert [row["user"] for row in rows][::-1] == users


def test_168_an_attribute_that_is_sent_again_is_replaced(form):
    course, user = form.course("audit"), form.learner()
    for value in ("one", "two"):
        attribute = {"namespace": "order", "name": "order_id", "value": value}
        form.enrolled(course, user, enrollment_attributes=[attribute])
    assert form.stored(course, user)["attributes"] == [attribute]


def test_169_details_of_an_unknown_course_are_400(edx):
    assert edx.get(f"/course/course-v1:no+{edx.word}+run", ANONYMOUS).status_code == 400


@pytest.mark.parametrize(
    "members",
    [pytest.param({}, id="170"), pytest.param({"is_active": False}, id="175")],
)
def test_an_unknown_learner_is_406(form, members):
    refused = form.enroll(KEY, form.course(), user=f"nobody{form.word}", **members)
    assert refused.status_code == 406
    assert refused.json()["message"] == f"The user nobody{form.word} does not exist."


@pytest.mark.parametrize(
    "members",
    [pytest.param({}, id="171"), pytest.param({"is_active": False}, id="176")],
)
def test_an_unknown_course_is_400(form, members):
    course = f"course-v1:no+{form.word}+run"
    refused = form.enroll(KEY, course, user=form.learner(), **members)
    assert refused.status_code == 400
    assert refused.json()["message"] == f"No course '{course}' found for enrollment"


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        pytest.param({"enrollment_end": PAST}, "enrollment_closed", id="172"),
        pytest.param({"capacity": 0}, "course_full", id="173"),
    ],
)
def test_a_closed_or_full_course_is_400(form, members, reason):
    course, user = form.course("audit", **members), form.learner()
    refused = form.enroll(KEY, course, user=user)
    assert refused.status_code == 400
    shown = refused.json()
    assert shown["message"].startswith("An error occurred while creating the new course enrollment")
    assert shown["code"] == reason
    assert form.state(course, user) is None


def test_174_who_is_enrolled_already_gets_the_enrollment(form):
    course, user = form.course("audit", capacity=1), form.learner()
    first = form.enrolled(course, user)
    assert form.enrolled(course, user) == first


@pytest.mark.parametrize(("asked", "number"), [("", 1), ("true", 2)])
def test_177_expired_modes_are_listed_iff_asked_for(edx, asked, number):
    course = edx.course("audit", expired("verified"))
    shown = ok(edx.get(f"/course/{course}", ANONYMOUS, include_expired=asked))
    assert len(shown["course_modes"]) == number


def test_178_exactly_ones_own_roles_are_listed(edx):
    course, one, two = edx.course(), edx.learner(), edx.learner()
    edx.give_role(course, one, "instructor")
    edx.give_role(course, two, "limited_staff")
    for user, role in ((one, "instructor"), (two, "limited_staff")):
        (found,) = ok(edx.get("/roles/", as_learner(user)))["roles"]
        assert set(found) == {"course_id", "org", "role"}
        assert (found["course_id"], found["role"]) == (course, role)
