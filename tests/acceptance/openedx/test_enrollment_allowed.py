"""4k: enrollment_allowed/. A number is that of the conformance table."""

import pytest

from tests.support.openedx_client import OpenEdxClient, as_learner, as_staff, email_of, ok

ALLOWED = "/enrollment_allowed/"
MISSING = "Please provide a value for 'email' and 'course_id' in the request data."


def address(client: OpenEdxClient) -> str:
    return f"new-{client.word}@example.org"


def test_136_staff_allow_an_address_into_a_course(form):
    course, email = form.course(invite_only=True), address(form)
    made = form.post(ALLOWED, form.staff(), email=email, course_id=course)
    assert made.status_code == 201
    assert made.headers["content-type"] == "application/json"
    shown = made.json()
    assert set(shown) >= {"email", "course_id", "auto_enroll", "user", "created"}
    assert (shown["email"], shown["course_id"]) == (email, course)
    assert (shown["auto_enroll"], shown["user"]) == (False, None)
    again = form.post(ALLOWED, form.staff(), email=email, course_id=course)
    assert again.status_code == 409
    assert again.json()["message"] == (
        f"An enrollment allowed with email {email} and course {course} already exists."
    )


def test_137_without_an_address_it_is_400(form):
    refused = form.post(ALLOWED, form.staff(), course_id=form.course())
    assert (refused.status_code, refused.json()["message"]) == (400, MISSING)


def test_138_without_a_course_it_is_400(form):
    refused = form.post(ALLOWED, form.staff(), email=address(form))
    assert (refused.status_code, refused.json()["message"]) == (400, MISSING)


def test_139_a_learner_cannot_allow_anybody(form):
    caller = as_learner(form.learner())
    refused = form.post(ALLOWED, caller, email=address(form), course_id=form.course())
    assert refused.status_code == 403


def test_140_without_an_address_ones_own_are_listed(edx):
    user, course = edx.learner(is_staff=True), edx.course()
    assert ok(edx.get(ALLOWED, as_staff(user))) == []
    made = edx.post(ALLOWED, edx.staff(), email=email_of(user), course_id=course)
    assert made.status_code == 201
    (shown,) = ok(edx.get(ALLOWED, as_staff(user)))
    assert (shown["email"], shown["course_id"]) == (email_of(user), course)


@pytest.mark.parametrize("path", [ALLOWED, ALLOWED.rstrip("/")])
def test_141_an_address_is_found(edx, path):
    course, email = edx.course(), address(edx)
    asked = {"email": email, "course_id": course, "auto_enroll": True}
    assert edx.post(path, edx.staff(), **asked).status_code == 201
    (shown,) = ok(edx.get(path, edx.staff(), email=email))
    assert {name: shown[name] for name in asked} == asked


def test_142_a_learner_cannot_list_them(edx):
    assert edx.get(ALLOWED, as_learner(edx.learner())).status_code == 403


def test_143_what_was_allowed_is_withdrawn_by_a_body(form):
    course, email = form.course(), address(form)
    form.post(ALLOWED, form.staff(), email=email, course_id=course)
    gone = form.delete(ALLOWED, form.staff(), email=email, course_id=course)
    assert (gone.status_code, gone.content) == (204, b"")
    assert ok(form.get(ALLOWED, form.staff(), email=email)) == []


def test_144_what_was_not_allowed_is_404(form):
    course, email = form.course(), address(form)
    form.post(ALLOWED, form.staff(), email=email, course_id=course)
    other = f"other-{email}"
    refused = form.delete(ALLOWED, form.staff(), email=other, course_id=course)
    assert refused.status_code == 404
    assert refused.json()["message"] == (
        f"An enrollment allowed with email {other} and course {course} doesn't exists."
    )


def test_145_without_an_address_nothing_is_withdrawn(form):
    refused = form.delete(ALLOWED, form.staff(), course_id=form.course())
    assert (refused.status_code, refused.json()["message"]) == (400, MISSING)
