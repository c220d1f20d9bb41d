"""What callers are told who may not; who may do what is tested in `test_relations`."""

import pytest

from api_gateway.auth.permissions import PERMISSIONS
from api_gateway.resource_factory import make_resources
from api_gateway.routes import ROUTES, V1
from enrollment.domain.model import Mode
from tests.support.gateway import AUDIT, HONOR, PROFESSIONAL, VERIFIED, ago, fresh
from tests.support.relations.about import path_of
from tests.support.relations.callers import EVERYBODY
from tests.support.relations.table import TABLE

NOT_PROVIDED = "Authentication credentials were not provided."
WAYS = (
    "Send an API key as `X-Edx-Api-Key: KEY` or `Authorization: Bearer KEY`, "
    "or a token as `Authorization: JWT TOKEN`."
)

NO_PERMISSION = "User does not have permission to create enrollment with mode [verified]."


# --- POST /enrollment ---------------------------------------------------------------------


@pytest.mark.parametrize("body", [{}, {"mode": "verified"}, {"email": "mallory@example.org"}])
def test_for_others_everybody_else_hears_404_and_nothing_more(small, body):
    for who in (small.learner("mallory"), small.key("read")):
        answer = small.enroll(who, small.course(AUDIT), fresh("ann"), **body)
        assert (answer.status_code, answer.content) == (404, b"")
        assert "content-type" not in answer.headers


def test_a_learner_who_names_nobody_or_himself_is_meant(small):
    course_id, user = small.course(AUDIT), fresh("ann")
    for named in ({}, {"user": ""}, {"user": None}, {"user": user, "email": "other@example.org"}):
        answer = small.enroll(small.learner(user), course_id, **named)
        assert (answer.status_code, answer.json["user"]) == (200, user)


def test_usernames_are_compared_to_the_letter(small):
    assert small.enroll(small.learner("Ann"), small.course(AUDIT), "ann").status_code == 404


@pytest.mark.parametrize("force", [True, False])
def test_a_learner_takes_free_modes_alone(small, force):
    closed = small.course(HONOR, VERIFIED, enrollment_end=ago(days=1))
    answer = small.enroll(
        small.learner(fresh("ann")), closed, mode="verified", force_enrollment=force
    )
    assert (answer.status_code, answer.json["message"]) == (403, NO_PERMISSION)
    assert answer.headers["content-type"] == "application/json"


@pytest.mark.parametrize("mode", [None, "audit", "honor"])
def test_a_learner_takes_a_free_mode(small, mode):
    answer = small.enroll(small.learner(fresh("ann")), small.course(AUDIT, HONOR), mode=mode)
    assert (answer.status_code, answer.json["mode"]) == (200, mode or "audit")


def test_a_refused_upgrade_leaves_the_learner_where_he_was(small):
    late = Mode(slug="verified", expires_at=ago(days=1))
    course_id, user = small.course(AUDIT, late), fresh("ann")
    small.enroll(small.learner(user), course_id)
    assert small.enroll(small.learner(user), course_id, mode="verified").status_code == 403
    shown = small.get(f"enrollment/{course_id}", small.learner(user)).json
    assert (shown["mode"], shown["is_active"]) == ("audit", True)


@pytest.mark.parametrize("kind", ["staff", "admin"])
def test_force_never_passes_the_seats(small, kind):
    full = small.course(AUDIT, capacity=0)
    answer = small.enroll(getattr(small, kind), full, fresh("ann"), force_enrollment=True)
    assert (answer.status_code, answer.json["code"]) == (400, "course_full")


def test_a_server_enrolls_in_modes_that_cost(small):
    answer = small.enroll(small.edx, small.course(PROFESSIONAL), fresh("ann"), mode="professional")
    assert (answer.status_code, answer.json["mode"]) == (200, "professional")


# --- every route --------------------------------------------------------------------------

PRIVATE = sorted({(key.route, key.method) for key in TABLE if TABLE[key].passes != EVERYBODY})


@pytest.mark.parametrize(("route", "method"), PRIVATE)
def test_without_credentials_a_401_names_the_ways_to_authenticate(small, route, method):
    names = {"course_id": "a/b/c", "username": "ann", "rest": "x", "names": "ann,a/b/c"}
    path = path_of(
        route, **names, id="1", source="s", webhook="1", delivery="1", destination="d", report="1"
    )
    for who in ({}, {"X-Edx-Api-Key": ""}, {"Authorization": "Basic YTpi"}):
        answer = small.call(method, path, who)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"].startswith("JWT ")
        on_v1 = ROUTES[route] in V1
        assert answer.json["detail"] == (NOT_PROVIDED if on_v1 else answer.json["message"])
        assert answer.json["message"] == f"{NOT_PROVIDED} {WAYS}"


@pytest.mark.parametrize(
    ("method", "path", "needed"),
    [
        ("POST", "courses", "courses or admin"),
        ("POST", "submissions", "enroll or admin, or the token of a staff member"),
        ("PUT", "learners/ada", "admin, or the token of a staff member"),
    ],
)
def test_who_lacks_a_scope_reads_which(small, method, path, needed):
    answer = small.call(method, path, small.key("read", name="reader"), json={})

    assert answer.status_code == 403
    assert answer.json["detail"].startswith("You do not have permission to perform this action. ")
    assert f"It needs an API key with the scope {needed}." in answer.json["detail"]
    assert answer.json["detail"].endswith("The scopes here are: read.")
    assert answer.json["message"] == answer.json["detail"]


def test_who_may_not_state_a_time_reads_which_scope_may(small):
    body = {"user": "ada", "course_id": small.course(), "requested_at": "2026-01-01T00:00:00Z"}
    answer = small.post("enrollment", small.key("enroll", name="shop"), json=body)

    assert (answer.status_code, answer.json["code"]) == (403, "not_permitted")
    assert answer.json["detail"] == "Only a trusted caller may state requested_at."
    assert "an API key with the scope admin, or the token of a staff" in answer.json["message"]


@pytest.mark.parametrize(
    "who",
    [
        {"X-Edx-Api-Key": "wrong"},
        {"Authorization": "Bearer wrong"},
        {"Authorization": "JWT a.b.c"},
        {"Authorization": "Bearer enr_" + "x" * 43},
    ],
)
def test_wrong_credentials_are_401_with_the_words_that_clients_read(small, who):
    answer = small.get("enrollment", who)
    assert answer.status_code == 401
    assert answer.headers["content-type"] == "application/json"
    assert {"error_code", "developer_message", "detail", "message"} <= set(answer.json)


def test_every_method_that_a_resource_answers_stands_in_the_policy(small):
    served = {
        (route, name.removeprefix("on_").upper())
        for route, resource in make_resources(small.parts).items()
        for name in dir(resource)
        if name.startswith("on_")
    }
    assert {(route, method) for route, method in served if method != "HEAD"} == set(PERMISSIONS)
    assert set(ROUTES) == {route for route, _ in PERMISSIONS}
