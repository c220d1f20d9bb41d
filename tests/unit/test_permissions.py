"""Who may do what, as a table over every kind of caller, route and method."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api_gateway.auth import permissions
from api_gateway.auth.caller import Caller
from api_gateway.auth.permissions import PERMISSIONS
from api_gateway.http.problems import Problem
from enrollment.domain.codes import CallerKind

LEARNER = Caller("user:ada", CallerKind.LEARNER, frozenset(), "ada", "ada@example.org")
STAFF = Caller("user:eve", CallerKind.STAFF, frozenset({"enroll", "read"}), "eve")


def key(*scopes):
    kind = CallerKind.ADMIN if "admin" in scopes else CallerKind.SERVER
    return Caller("key:sis", kind, frozenset(scopes))


CALLERS = {
    "nobody": None,
    "learner": LEARNER,
    "staff": STAFF,
    "no scope": key(),
    "enroll": key("enroll"),
    "read": key("read"),
    "courses": key("courses"),
    "admin": key("admin"),
    "edx": key("enroll", "read", "courses"),
    "learner+enroll": LEARNER._replace(kind=CallerKind.SERVER, scopes=frozenset({"enroll"})),
    "learner+read": LEARNER._replace(scopes=frozenset({"read"})),
    "staff+courses": STAFF._replace(scopes=frozenset({"enroll", "read", "courses"})),
    "learner+admin": LEARNER._replace(kind=CallerKind.ADMIN, scopes=frozenset({"admin"})),
}

ADMINS = {"admin", "learner+admin"}
STAFFS = ADMINS | {"staff", "staff+courses"}
EVERYBODY = set(CALLERS)
KNOWN = EVERYBODY - {"nobody"}
ENROLLERS = STAFFS | {"enroll", "edx", "learner+enroll"}
READERS = STAFFS | {"read", "edx", "learner+read"}
COURSE_KEEPERS = ADMINS | {"courses", "edx", "staff+courses"}

#: Route and method, and who passes; written down a second time, by people instead of needs.
PASSES = {
    ("enrollment", "GET"): KNOWN,
    ("enrollment", "POST"): KNOWN,
    ("enrollment_detail", "GET"): KNOWN,
    ("enrollments", "GET"): READERS,
    ("course_details", "GET"): EVERYBODY,
    ("submissions", "GET"): KNOWN,
    ("submissions", "POST"): ENROLLERS,
    ("submission", "GET"): KNOWN,
    ("submission_events", "GET"): KNOWN,
    ("submission_outcomes", "GET"): KNOWN,
    ("submission_cancel", "POST"): KNOWN,
    ("bulk_enroll", "POST"): STAFFS,
    ("courses", "GET"): COURSE_KEEPERS | READERS,
    ("courses", "POST"): COURSE_KEEPERS,
    ("courses", "PATCH"): COURSE_KEEPERS,
    ("course", "GET"): COURSE_KEEPERS | READERS,
    ("course", "PUT"): COURSE_KEEPERS,
    ("course", "PATCH"): COURSE_KEEPERS,
    ("course", "DELETE"): COURSE_KEEPERS,
    ("learners", "POST"): STAFFS,
    ("learner", "GET"): READERS,
    ("learner", "PUT"): STAFFS,
    ("learner", "DELETE"): STAFFS,
    ("invitation", "GET"): ENROLLERS,
    ("invitation", "PUT"): ENROLLERS,
    ("invitation", "DELETE"): ENROLLERS,
    ("crosswalk", "GET"): ENROLLERS,
    ("crosswalk", "PUT"): STAFFS,
    ("crosswalk", "PATCH"): STAFFS,
    ("crosswalk_missing", "GET"): ENROLLERS,
    ("changes", "GET"): READERS,
    ("webhooks", "GET"): ADMINS,
    ("webhooks", "POST"): ADMINS,
    ("webhook", "GET"): ADMINS,
    ("webhook", "PUT"): ADMINS,
    ("webhook", "DELETE"): ADMINS,
    ("webhook_rotate", "POST"): ADMINS,
    ("webhook_enable", "POST"): ADMINS,
    ("webhook_disable", "POST"): ADMINS,
    ("webhook_redeliver", "POST"): ADMINS,
    ("webhook_deliveries", "GET"): ADMINS,
    ("webhook_delivery_redeliver", "POST"): ADMINS,
    ("roles", "GET"): KNOWN,
    ("course_role", "GET"): READERS,
    ("course_role", "PUT"): STAFFS,
    ("course_role", "DELETE"): STAFFS,
    ("unenroll", "POST"): STAFFS,
    ("enrollment_allowed", "GET"): STAFFS,
    ("enrollment_allowed", "POST"): STAFFS,
    ("enrollment_allowed", "DELETE"): STAFFS,
    ("eligibility", "GET"): KNOWN,
    ("accounts", "GET"): KNOWN,
    ("account", "GET"): KNOWN,
    ("me", "GET"): KNOWN,
    ("catalog", "GET"): EVERYBODY,
    ("catalog_course", "GET"): EVERYBODY,
    ("v2_enrollment", "GET"): KNOWN,
    ("v2_enrollment", "POST"): KNOWN,
    ("v2_unenroll", "POST"): STAFFS,
    ("v2_enrollment_allowed", "GET"): STAFFS,
    ("v2_enrollment_allowed", "POST"): STAFFS,
    ("v2_enrollment_allowed", "DELETE"): STAFFS,
    ("v2_enrollments", "GET"): READERS,
    ("v2_enrollment_detail", "GET"): KNOWN,
    ("v2_course_details", "GET"): EVERYBODY,
    ("v2_roles", "GET"): KNOWN,
    ("v2_unenroll_legacy", "POST"): STAFFS,
    ("v2_allowed_legacy", "GET"): STAFFS,
    ("v2_allowed_legacy", "POST"): STAFFS,
    ("v2_allowed_legacy", "DELETE"): STAFFS,
    ("v2_enrollment_legacy", "GET"): KNOWN,
    ("v2_course_legacy", "GET"): EVERYBODY,
    ("access_token", "POST"): EVERYBODY,
    ("livez", "GET"): EVERYBODY,
    ("readyz", "GET"): EVERYBODY,
    ("openapi", "GET"): EVERYBODY,
    ("docs", "GET"): EVERYBODY,
    ("docs_reasons", "GET"): EVERYBODY,
    ("docs_style", "GET"): EVERYBODY,
}


def status(caller, route, method):
    try:
        permissions.authorize(caller, route, method)
    except Problem as problem:
        return problem.status
    return 200


def test_every_route_and_method_is_in_the_table():
    assert set(PERMISSIONS) == set(PASSES)


@pytest.mark.parametrize(("route", "method"), PASSES)
@pytest.mark.parametrize("who", CALLERS)
def test_only_those_who_may_pass(who, route, method):
    expected = 200 if who in PASSES[route, method] else 401 if who == "nobody" else 403

    assert status(CALLERS[who], route, method) == expected


@pytest.mark.parametrize(("route", "method"), [("enrollment", "DELETE"), ("livez", "POST"), ("nowhere", "GET")])  # fmt: skip
@pytest.mark.parametrize("who", CALLERS)
def test_what_is_not_listed_lets_nobody_pass(who, route, method):
    with pytest.raises(LookupError):
        permissions.authorize(CALLERS[who], route, method)


@given(
    st.sampled_from(sorted(PERMISSIONS)),
    st.frozensets(st.sampled_from(["enroll", "read", "courses"])),
)
def test_admin_may_whatever_any_scope_may(route, scopes):
    assert status(key("admin"), *route) <= status(key(*scopes), *route)


def test_a_need_that_names_nothing_lets_nobody_pass():
    assert not any(
        permissions._satisfies(caller, permissions.Requirement())
        for caller in CALLERS.values()
        if caller
    )


ACTS_FOR = {
    #: who: (for Ada, for Bob, for somebody known by e-mail alone)
    "learner": (True, False, False),
    "staff": (True, True, True),
    "no scope": (False, False, False),
    "enroll": (True, True, True),
    "read": (False, False, False),
    "courses": (False, False, False),
    "admin": (True, True, True),
    "edx": (True, True, True),
    "learner+enroll": (True, True, True),
    "learner+read": (True, False, False),
    "staff+courses": (True, True, True),
    "learner+admin": (True, True, True),
}
READS_ABOUT = ACTS_FOR | {"read": (True, True, True), "learner+read": (True, True, True)}


@pytest.mark.parametrize("who", sorted(KNOWN))
def test_who_acts_for_whom(who):
    people = ("ada", "bob", None)

    assert tuple(permissions.may_act_for(CALLERS[who], name) for name in people) == ACTS_FOR[who]
    assert (
        tuple(permissions.may_read_about(CALLERS[who], name) for name in people) == READS_ABOUT[who]
    )


@pytest.mark.parametrize("name", ["Ada", "ada ", " ada", "\uff41da", "ada\0", "", "a\u0064\u0307a"])
def test_a_name_that_only_looks_alike_is_somebody_else(name):
    assert not permissions.may_act_for(LEARNER, name)
    assert not permissions.may_read_about(LEARNER, name)


@given(own=st.text(min_size=1), other=st.text())
def test_learners_act_for_themselves_alone(own, other):
    caller = LEARNER._replace(username=own)

    assert permissions.may_act_for(caller, other) is (own == other)
    assert permissions.may_read_about(caller, other) is (own == other)


@pytest.mark.parametrize("mode", [None, "audit", "honor"])
@pytest.mark.parametrize("who", sorted(KNOWN))
def test_anybody_may_choose_a_free_mode(who, mode):
    permissions.check_mode(CALLERS[who], mode)


@pytest.mark.parametrize("mode", ["verified", "credit", "", "Audit", "audit "])
@pytest.mark.parametrize("who", sorted(KNOWN))
def test_only_learners_are_refused_other_modes(who, mode):
    if CALLERS[who].kind is not CallerKind.LEARNER:
        permissions.check_mode(CALLERS[who], mode)
        return
    with pytest.raises(Problem) as refusal:
        permissions.check_mode(CALLERS[who], mode)

    assert refusal.value.status == 403
    assert refusal.value.detail == (
        f"User does not have permission to create enrollment with mode [{mode}]."
    )
