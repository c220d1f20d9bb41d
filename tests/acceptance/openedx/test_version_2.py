"""4o: version 2. A number is that of the conformance table."""

import pytest

from tests.support.openedx_client import KEY, OpenEdxClient, as_learner, as_staff, ok

V2 = "/api/enrollment/v2"
ENVELOPE = {"count", "num_pages", "current_page", "start", "next", "previous", "results"}


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "enrollment/"),
        ("POST", "enrollment/"),
        ("POST", "enrollment/unenroll/"),
        ("GET", "enrollment/enrollment_allowed/"),
        ("GET", "enrollments/"),
    ],
)
def test_201_without_credentials_every_route_is_401(edx, method, path):
    assert edx.send_raw(method, f"{V2}/{path}").status_code == 401


@pytest.mark.parametrize(
    ("caller", "status"), [({"X-Edx-Api-Key": "wrong"}, 401), (KEY, 200)], ids=["wrong", "right"]
)
def test_202_a_key_is_checked(edx, caller, status):
    assert edx.get(f"{V2}/enrollment/", caller).status_code == status


def test_203_a_list_has_the_members_of_a_page(edx):
    course, user = edx.course(), edx.learner()
    edx.enrolled(course, user)
    page = ok(edx.get(f"{V2}/enrollment/", as_learner(user)))
    assert set(page) == ENVELOPE
    assert [one["course_details"]["course_id"] for one in page["results"]] == [course]


@pytest.mark.parametrize(
    ("course_id", "status"),
    [(None, 400), ("no key", 400), ("VALID", 200)],
    ids=["none", "bad", "valid"],
)
def test_204_a_request_needs_a_course(form, course_id, status):
    named = form.course() if course_id == "VALID" else course_id
    body = {"course_details": {"course_id": named}} if named else {}
    answer = form.post(f"{V2}/enrollment/", as_learner(form.learner()), **body)
    assert answer.status_code == status, answer.text


@pytest.mark.parametrize("path", ["enrollment/unenroll/", "unenroll/"])
def test_205_a_learner_may_not_unenroll(form, path):
    user = form.learner(retiring=True)
    refused = form.post(f"{V2}/{path}", as_learner(user), username=user)
    assert refused.status_code == 403


def test_206_allowed_enrollments_are_for_administrators(form):
    path, caller = f"{V2}/enrollment/enrollment_allowed/", as_learner(form.learner())
    body = {"email": f"{form.word}@example.com", "course_id": form.course()}
    assert form.get(path, caller).status_code == 403
    for method in ("POST", "DELETE"):
        assert form.send(method, path, caller, body).status_code == 403
    assert ok(form.get(path, form.staff())) == []


@pytest.mark.parametrize(
    ("name", "is_deprecated"), [("course_key", False), ("course_id", True), (None, False)]
)
def test_207_the_old_name_of_a_course_is_deprecated(edx, name, is_deprecated):
    user, course = edx.learner(), edx.course()
    edx.give_role(course, user)
    answer = edx.get(f"{V2}/roles/", as_learner(user), **({name: course} if name else {}))
    assert [role["course_id"] for role in ok(answer)["roles"]] == [course]
    assert ("deprecation" in answer.headers) is is_deprecated


def test_208_the_minimal_view_has_no_details(edx):
    course, user = edx.course(), edx.learner()
    edx.enrolled(course, user)
    (row,) = ok(edx.get(f"{V2}/enrollment/", as_learner(user), view="minimal"))["results"]
    assert row["course_id"] == course
    assert "course_details" not in row


def test_209_both_forms_of_a_path_are_the_same(edx):
    course, user = edx.course("audit"), edx.learner()
    edx.enrolled(course, user)
    for new, old in (
        (f"enrollments/{user},{course}/", f"enrollment/{user},{course}"),
        (f"courses/{course}/", f"course/{course}"),
        ("roles/", "roles"),
        ("enrollment/", "enrollment"),
    ):
        answers = [ok(edx.get(f"{V2}/{path}", as_learner(user))) for path in (new, old)]
        assert answers[0] == answers[1]


@pytest.mark.parametrize("key", ["no-key", "course-v1:version@519665f6223ebd6980884f2b"])
@pytest.mark.parametrize("path", ["enrollments/{user},{key}/", "courses/{key}/"])
def test_210_a_key_that_is_none_is_404(edx, path, key):
    user = edx.learner()
    asked = f"{V2}/{path.format(user=user, key=key)}"
    assert edx.get(asked, as_learner(user)).status_code == 404


def test_211_administrators_list_all_enrollments_by_filters(edx: OpenEdxClient):
    one, two = edx.course(), edx.course()
    user, other = edx.learner(), edx.learner()
    edx.enrolled(one, user)
    edx.enrolled(two, other)
    path, admin = f"{V2}/enrollments/", as_staff(edx.learner(is_staff=True))
    for filters, number in (
        ({"course_keys": f"{one},{two}"}, 2),
        ({"course_key": one}, 1),
        ({"username": user}, 1),
        ({"course_key": one, "username": other}, 0),
    ):
        page = ok(edx.get(path, admin, **filters))
        assert set(page) == ENVELOPE
        assert (page["count"], len(page["results"])) == (number, number)
    assert edx.get(path, admin, course_key="no key").status_code == 400
    old = edx.get(path, admin, course_id=one)
    assert ok(old)["count"] == 1
    assert "deprecation" in old.headers
    refused = edx.get(path, as_learner(user))
    assert refused.status_code == 403
    assert "results" not in refused.json()
