"""Roles in courses: set by staff, listed to their owners, and what course staff may see."""

import pytest

from tests.support.gateway import AUDIT, fresh
from tests.support.statements import recorded_statements

NO_USER = "An error occurred while retrieving roles for user '"


def give(gateway, course_id, user, role="staff", who=None):
    who = gateway.admin if who is None else who
    return gateway.call("PUT", f"roles/{course_id}/{user}", who, json={"role": role})


def roles(gateway, user, path="roles", **more):
    answer = gateway.get(path, gateway.learner(user, **more))
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/json"
    return answer.json


# --- GET roles/ ---------------------------------------------------------------------------


@pytest.mark.parametrize("staff", [True, False])
def test_a_person_without_roles_has_an_empty_list(gateway, staff):
    assert roles(gateway, fresh("ann"), staff=staff) == {"roles": [], "is_staff": staff}


@pytest.mark.parametrize("staff", [True, False])
def test_one_then_two_roles_are_listed_with_exactly_three_members(gateway, staff):
    user, first, second = fresh("ann"), gateway.course(), f"Uni/{fresh('C')}/1"
    give(gateway, first, user)
    one = {"course_id": first, "org": "Uni", "role": "staff"}
    assert roles(gateway, user, staff=staff)["roles"] == [one]
    give(gateway, second, user, "instructor")
    two = {"course_id": second, "org": "Uni", "role": "instructor"}
    listed = roles(gateway, user, "roles/", staff=staff)["roles"]
    assert sorted(listed, key=str) == sorted([one, two], key=str)


@pytest.mark.parametrize("write", [str, lambda key: key.replace("+", "%2B")])
def test_a_course_filters_the_roles_exactly(gateway, write):
    user, wanted, other = fresh("ann"), gateway.course(), gateway.course()
    give(gateway, wanted, user)
    give(gateway, other, user)
    listed = roles(gateway, user, f"roles?course_id={write(wanted)}")["roles"]
    assert [role["course_id"] for role in listed] == [wanted]
    for nothing in (wanted[:-1], "%00", "no key"):
        assert roles(gateway, user, f"roles/?course_id={nothing}&x=1")["roles"] == []
    assert len(roles(gateway, user, "roles/?course_id=")["roles"]) == 2  # as in Open edX


def test_a_server_has_no_user_and_so_no_roles(gateway):
    for who in (gateway.edx, gateway.admin, gateway.key("read")):
        answer = gateway.get("roles/", who)
        assert (answer.status_code, answer.json["message"]) == (400, NO_USER)
        assert answer.headers["content-type"] == "application/json"


def test_a_token_together_with_a_key_has_the_roles_of_its_subject(gateway):
    user, course_id = fresh("ann"), gateway.course()
    give(gateway, course_id, user)
    answer = gateway.get("roles", gateway.learner(user) | gateway.server)
    assert [role["course_id"] for role in answer.json["roles"]] == [course_id]


# --- PUT, GET, DELETE roles/{course_id}/{username} ----------------------------------------


@pytest.mark.parametrize("role", ["staff", "instructor", "limited_staff", "support"])
@pytest.mark.parametrize("key", ["course-v1:Uni+{}+1", "course-v1%3AUni%2B{}%2B1", "Uni/{}/1"])
def test_a_role_is_given_read_back_and_taken_away(gateway, role, key):
    user, course_id = fresh("ann"), key.format(fresh("C"))
    path = f"roles/{course_id}/{user}"
    shown = course_id.replace("%3A", ":").replace("%2B", "+")
    body = {"course_id": shown, "org": "Uni", "role": role, "username": user}
    for who in (gateway.admin, gateway.staff):
        made = gateway.call("PUT", path, who, json={"role": role})
        assert (made.status_code, made.json) == (201, body)
        again = gateway.call("PUT", path + "/", who, json={"role": role})
        assert (again.status_code, again.json) == (200, body)
        assert gateway.get(path, gateway.key("read")).json == body
        gone = gateway.call("DELETE", path, who)
        assert (gone.status_code, gone.content) == (204, b"")
        assert gateway.call("DELETE", path, who).status_code == 404
        missing = gateway.get(path, who)
        assert (missing.status_code, missing.json["code"]) == (404, "not_found")


def test_another_role_replaces_the_one_before(gateway):
    user, course_id = fresh("ann"), gateway.course()
    give(gateway, course_id, user, "staff")
    assert give(gateway, course_id, user, "support").status_code == 200
    assert [role["role"] for role in roles(gateway, user)["roles"]] == ["support"]


@pytest.mark.parametrize("body", [{}, {"role": "owner"}, {"role": None}, {"role": "staff", "x": 1}])
def test_a_role_that_does_not_exist_is_400(gateway, body):
    answer = gateway.call("PUT", f"roles/{gateway.course()}/ann", gateway.admin, json=body)
    assert (answer.status_code, answer.json["code"]) == (400, "invalid_body")
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("roles/nonsense/ann", "invalid_course_id"),
        ("roles/ann", "invalid_course_id"),
        ("roles/course-v1:A+B+C", "invalid_username"),
        ("roles/a/b/c/x*y", "invalid_username"),
        ("roles/a/b/c", "invalid_course_id"),
    ],
)
def test_a_path_without_course_and_username_is_400(gateway, path, code):
    answer = gateway.call("PUT", path, gateway.admin, json={"role": "staff"})
    assert (answer.status_code, answer.json["code"]) == (400, code)


# --- what course staff may see ------------------------------------------------------------


@pytest.fixture
def enrolled(gateway):
    """A learner in two courses."""
    user, courses = fresh("ann"), [gateway.course(AUDIT), gateway.course(AUDIT)]
    gateway.submit("user,course_id\n" + "".join(f"{user},{course}\n" for course in courses))
    return user, *courses


@pytest.mark.parametrize("role", ["staff", "instructor"])
def test_course_staff_list_the_enrollments_in_their_courses_alone(gateway, enrolled, role):
    user, theirs, _ = enrolled
    teacher = fresh("tea")
    give(gateway, theirs, teacher, role)
    listed = gateway.get(f"enrollment?user={user}", gateway.learner(teacher))
    assert [one["course_details"]["course_id"] for one in listed.json] == [theirs]
    assert listed.json[0]["user"] == user
    single = gateway.get(f"enrollment/{user},{theirs}", gateway.learner(teacher))
    assert (single.status_code, single.content) == (404, b"")


@pytest.mark.parametrize("role", ["limited_staff", "support"])
def test_other_roles_list_nothing_of_others(gateway, enrolled, role):
    user, theirs, _ = enrolled
    teacher = fresh("tea")
    give(gateway, theirs, teacher, role)
    assert gateway.get(f"enrollment?user={user}", gateway.learner(teacher)).json == []


def test_inactive_enrollments_are_not_listed_to_course_staff(gateway, enrolled):
    user, theirs, _ = enrolled
    teacher = fresh("tea")
    give(gateway, theirs, teacher)
    gateway.submit(f"user,course_id,is_active\n{user},{theirs},false\n")
    assert gateway.get(f"enrollment?user={user}", gateway.learner(teacher)).json == []


def test_a_stranger_cannot_tell_an_enrolled_learner_from_a_missing_one(gateway, enrolled):
    user, _, _ = enrolled
    teacher = fresh("tea")
    give(gateway, gateway.course(AUDIT), teacher)
    seen = []
    with recorded_statements(gateway.sessions.engine) as statements:
        for named in (user, fresh("missing")):
            statements.clear()
            answer = gateway.get(f"enrollment?user={named}", gateway.learner(teacher))
            headers = {key: text for key, text in answer.headers.items() if key != "x-request-id"}
            seen.append((answer.status_code, answer.content, headers, list(statements)))
    assert seen[0] == seen[1]
    assert seen[0][1] == b"[]"
