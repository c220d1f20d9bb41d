"""4i: roles/, in courses. A number is that of the conformance table."""

import pytest

from tests.support.openedx_client import ANONYMOUS, as_learner, as_staff, ok


def test_105_without_credentials_it_is_401(edx):
    assert edx.get("/roles/", ANONYMOUS).status_code == 401


@pytest.mark.parametrize("path", ["/roles/", "/roles"])
def test_106_who_has_no_role_gets_an_empty_list(edx, path):
    answer = ok(edx.get(path, as_learner(edx.learner())))
    assert answer == {"roles": [], "is_staff": False}


def test_107_global_staff_are_named_as_such(edx):
    assert ok(edx.get("/roles/", edx.staff())) == {"roles": [], "is_staff": True}


@pytest.mark.parametrize("is_staff", [False, True], ids=["learner", "staff"])
def test_108_each_role_is_listed(edx, is_staff):
    org, user = f"Org{edx.word}", edx.learner(is_staff=is_staff)
    caller, expected = as_staff(user) if is_staff else as_learner(user), []
    for _ in range(2):
        course = edx.course(org=org)
        edx.give_role(course, user)
        expected.append({"course_id": course, "org": org, "role": "staff"})
        answer = ok(edx.get("/roles/", caller))
        assert sorted(answer["roles"], key=lambda role: role["course_id"]) == expected
        assert answer["is_staff"] is is_staff


def test_109_one_course_can_be_asked_for(edx):
    user, one, two = edx.learner(), edx.course(), edx.course()
    edx.give_role(one, user, "instructor")
    edx.give_role(two, user)
    (role,) = ok(edx.get("/roles/", as_learner(user), course_id=one))["roles"]
    assert (role["course_id"], role["role"]) == (one, "instructor")
