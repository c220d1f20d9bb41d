"""Who may do what: upstream's table as a client meets it, and every route of ours."""

import pytest

from api_gateway.auth.permissions import PERMISSIONS
from api_gateway.routes import ROUTES, V1, make_resources
from enrollment.domain.model import Mode
from tests.support.gateway import AUDIT, HONOR, PROFESSIONAL, VERIFIED, ago, fresh

NOT_PROVIDED = "Authentication credentials were not provided."
WAYS = (
    "Send an API key as `X-Edx-Api-Key: KEY` or `Authorization: Bearer KEY`, "
    "or a token as `Authorization: JWT TOKEN`."
)

NO_PERMISSION = "User does not have permission to create enrollment with mode [verified]."


def who_of(gateway, kind, user):
    return {
        "self": lambda: gateway.learner(user),
        "other": lambda: gateway.learner("mallory"),
        "staff": lambda: gateway.staff,
        "admin": lambda: gateway.admin,
        "edx": lambda: gateway.edx,
        "enroll": lambda: gateway.key("enroll"),
        "read": lambda: gateway.key("read"),
        "courses": lambda: gateway.key("courses"),
        "token and key": lambda: gateway.learner("mallory") | gateway.server,
        "token and read key": lambda: gateway.learner("mallory") | gateway.key("read"),
    }[kind]()


ENROLLERS = ["staff", "admin", "edx", "enroll", "token and key"]
STRANGERS = ["other", "read", "courses", "token and read key"]
READERS = [*ENROLLERS, "read", "token and read key"]


# --- POST /enrollment ---------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["self", *ENROLLERS])
def test_oneself_or_who_may_enroll_others_enrolls(small, kind):
    user = fresh("ann")
    answer = small.enroll(who_of(small, kind, user), small.course(AUDIT, name="Algebra"), user)
    assert (answer.status_code, answer.json["user"]) == (200, user)
    assert answer.json["course_details"]["course_name"] == "Algebra"


@pytest.mark.parametrize("kind", STRANGERS)
@pytest.mark.parametrize("body", [{}, {"mode": "verified"}, {"email": "other@example.org"}])
def test_for_others_everybody_else_hears_404_and_nothing_more(small, kind, body):
    answer = small.enroll(who_of(small, kind, ""), small.course(AUDIT), fresh("ann"), **body)
    assert (answer.status_code, answer.content) == (404, b"")
    assert "content-type" not in answer.headers


@pytest.mark.parametrize("kind", STRANGERS)
def test_somebody_else_s_email_is_404(small, kind):
    answer = small.enroll(who_of(small, kind, ""), small.course(AUDIT), email="ann@example.org")
    assert (answer.status_code, answer.content) == (404, b"")


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


@pytest.mark.parametrize(
    ("kind", "force", "status"),
    [
        ("staff", True, 200),
        ("staff", False, 400),
        ("admin", True, 200),
        ("admin", False, 400),
        ("edx", True, 400),
        ("enroll", True, 400),
        ("token and key", True, 400),
    ],
)
def test_force_opens_what_is_closed_for_who_is_trusted(small, kind, force, status):
    late = Mode(slug="verified", expires_at=ago(days=1))
    course_id = small.course(late, invite_only=True, enrollment_end=ago(days=1))
    answer = small.enroll(
        who_of(small, kind, ""), course_id, fresh("ann"), mode="verified", force_enrollment=force
    )
    assert answer.status_code == status


@pytest.mark.parametrize("kind", ["staff", "admin"])
def test_force_never_passes_the_seats(small, kind):
    full = small.course(AUDIT, capacity=0)
    answer = small.enroll(who_of(small, kind, ""), full, fresh("ann"), force_enrollment=True)
    assert (answer.status_code, answer.json["code"]) == (400, "course_full")


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("staff", 200),
        ("admin", 200),
        ("edx", 403),
        ("enroll", 403),
        ("token and key", 403),
        ("self", 403),
    ],
)
def test_the_trusted_alone_state_when_a_wish_was_made(small, kind, status):
    user = fresh("ann")
    answer = small.enroll(
        who_of(small, kind, user), small.course(AUDIT), user, requested_at="2026-01-01T00:00:00Z"
    )
    assert answer.status_code == status
    assert status == 200 or answer.json["code"] == "not_permitted"


def test_a_server_enrolls_in_modes_that_cost(small):
    answer = small.enroll(small.edx, small.course(PROFESSIONAL), fresh("ann"), mode="professional")
    assert (answer.status_code, answer.json["mode"]) == (200, "professional")


# --- reading ------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["self", *READERS])
def test_one_s_own_enrollment_and_those_of_others_for_who_may_read_them(small, kind):
    course_id, user = small.course(AUDIT), fresh("ann")
    small.enroll(small.server, course_id, user)
    who = who_of(small, kind, user)
    assert small.get(f"enrollment/{user},{course_id}", who).json["user"] == user
    assert small.get(f"enrollment/{user},{course_id}/history", who).json["events"]
    assert [one["user"] for one in small.get(f"enrollment?user={user}", who).json] == [user]


@pytest.mark.parametrize("kind", ["other", "courses"])
def test_others_enrollments_are_404_and_their_list_is_empty(small, kind):
    course_id, user = small.course(AUDIT), fresh("ann")
    small.enroll(small.server, course_id, user)
    who = who_of(small, kind, user)
    for path in (f"enrollment/{user},{course_id}", f"enrollment/{user},{course_id}/history"):
        answer = small.get(path, who)
        assert (answer.status_code, answer.content) == (404, b"")
    listed = small.get(f"enrollment?user={user}", who)
    assert (listed.status_code, listed.json) == (200, [])


# --- every route --------------------------------------------------------------------------

ALLOWED = {
    ("enrollment", "GET"): "everybody",
    ("enrollments", "GET"): "staff admin edx read",
    ("changes", "GET"): "staff admin edx read",
    ("submissions", "GET"): "everybody",
    ("submissions", "POST"): "staff admin edx enroll",
    ("bulk_enroll", "POST"): "staff admin",
    ("courses", "GET"): "staff admin edx read courses",
    ("courses", "POST"): "admin edx courses",
    ("course", "GET"): "staff admin edx read courses",
    ("course", "PUT"): "admin edx courses",
    ("course", "PATCH"): "admin edx courses",
    ("course", "DELETE"): "admin edx courses",
    ("learners", "POST"): "staff admin",
    ("learner", "GET"): "staff admin edx read",
    ("learner", "PUT"): "staff admin",
    ("learner", "DELETE"): "staff admin",
    ("invitation", "GET"): "staff admin edx enroll",
    ("invitation", "PUT"): "staff admin edx enroll",
    ("invitation", "DELETE"): "staff admin edx enroll",
    ("crosswalk", "GET"): "staff admin edx enroll",
    ("crosswalk", "PUT"): "staff admin",
    ("crosswalk", "PATCH"): "staff admin",
    ("crosswalk_missing", "GET"): "staff admin edx enroll",
    ("webhooks", "GET"): "admin",
    ("webhooks", "POST"): "admin",
    ("webhook", "GET"): "admin",
    ("webhook", "PUT"): "admin",
    ("webhook", "DELETE"): "admin",
    ("webhook_rotate", "POST"): "admin",
    ("webhook_enable", "POST"): "admin",
    ("webhook_disable", "POST"): "admin",
    ("webhook_redeliver", "POST"): "admin",
    ("webhook_deliveries", "GET"): "admin",
    ("webhook_delivery_redeliver", "POST"): "admin",
    ("roles", "GET"): "everybody",
    ("course_role", "GET"): "staff admin edx read",
    ("course_role", "PUT"): "staff admin",
    ("course_role", "DELETE"): "staff admin",
    ("unenroll", "POST"): "staff admin",
    ("enrollment_allowed", "GET"): "staff admin",
    ("enrollment_allowed", "POST"): "staff admin",
    ("enrollment_allowed", "DELETE"): "staff admin",
    ("eligibility", "GET"): "everybody",
    ("accounts", "GET"): "everybody",
    ("me", "GET"): "everybody",
    ("v2_enrollment", "GET"): "everybody",
    ("v2_unenroll", "POST"): "staff admin",
    ("v2_enrollment_allowed", "GET"): "staff admin",
    ("v2_enrollment_allowed", "POST"): "staff admin",
    ("v2_enrollment_allowed", "DELETE"): "staff admin",
    ("v2_enrollments", "GET"): "staff admin edx read",
    ("v2_roles", "GET"): "everybody",
    ("v2_unenroll_legacy", "POST"): "staff admin",
    ("v2_allowed_legacy", "GET"): "staff admin",
    ("v2_allowed_legacy", "POST"): "staff admin",
    ("v2_allowed_legacy", "DELETE"): "staff admin",
}
EVERYBODY = ["self", "staff", "admin", "edx", "enroll", "read", "courses"]


def path_of(route):
    given = {
        "course_id": "course-v1:No+Such+One",
        "username": "nobody",
        "rest": "a/b/c/d@example.org",
        "names": "ann,a/b/c",
        "source": "canvas",
        "webhook": "01900000-0000-7000-8000-000000000000",
        "delivery": "1",
    }
    return ROUTES[route].replace(":path", "").format(**given)


@pytest.mark.parametrize(("route", "method"), sorted(ALLOWED))
def test_a_route_lets_in_who_may_and_nobody_else(small, route, method):
    passing = ALLOWED[route, method].split()
    for kind in EVERYBODY:
        answer = small.call(method, path_of(route), who_of(small, kind, "ann"))
        may = passing == ["everybody"] or kind in passing
        assert (answer.status_code == 403) is not may, (kind, answer.text)
        if not may:
            assert answer.json["code"] == "not_permitted"
            assert answer.json["message"]


@pytest.mark.parametrize(
    ("route", "method"),
    sorted(
        set(PERMISSIONS)
        - {
            ("access_token", "POST"),
            ("livez", "GET"),
            ("readyz", "GET"),
            ("course_details", "GET"),
            ("catalog", "GET"),
            ("catalog_course", "GET"),
            ("v2_course_details", "GET"),
            ("v2_course_legacy", "GET"),
            ("openapi", "GET"),
            ("docs", "GET"),
            ("docs_reasons", "GET"),
            ("docs_style", "GET"),
        }
    ),
)
def test_without_credentials_every_route_but_the_public_ones_is_401(small, route, method):
    path = (
        ROUTES[route]
        .replace(":path", "")
        .format(
            course_id="a/b/c",
            username="ann",
            rest="x",
            names="ann,a/b/c",
            id="1",
            source="s",
            webhook="1",
            delivery="1",
        )
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
