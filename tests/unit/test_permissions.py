"""The policy agrees with the table of relations, for every kind of caller, route and method."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api_gateway.auth import permissions
from api_gateway.auth.authentication import EDX_CALLER, combine_callers, key_caller, token_caller
from api_gateway.auth.caller import Caller
from api_gateway.auth.jwt_tokens import Claims
from api_gateway.auth.permissions import PERMISSIONS
from api_gateway.http.problems import Problem
from enrollment.domain.codes import CallerKind
from enrollment.storage.credentials.api_keys import ApiKey
from tests.support.relations.callers import (
    CLIENTS,
    EDX_KEY,
    ENROLLERS,
    EVERYBODY,
    KEYS,
    KNOWN,
    LEARNER,
    LEARNERS,
    NOBODY,
    ONLOOKERS,
    ROLES,
    STAFF,
    SUBJECTS,
    TOKENS_WITH_KEYS,
)
from tests.support.relations.model import OWN
from tests.support.relations.requests import MAKERS
from tests.support.relations.table import TABLE


def token(*, staff=False, username="ada"):
    return token_caller(Claims(username, None, staff, 60.0))


def key(*scopes):
    return key_caller(ApiKey(1, "sis", frozenset(scopes), None, None, None, None))


CALLERS = {
    NOBODY: None,
    LEARNER: token(),
    STAFF: token(staff=True),
    EDX_KEY: EDX_CALLER,
    **{kind: token() for kind in ROLES},
    **{kind: token(staff=staff) for kind, staff in CLIENTS.items()},
    **{kind: key(*scopes) for kind, scopes in KEYS.items()},
    **{
        kind: combine_callers(token(staff=staff), key(*scopes))
        for kind, (staff, scopes) in TOKENS_WITH_KEYS.items()
    },
}


def status(caller, route, method):
    requirement = PERMISSIONS[route, method]
    if requirement.public:
        return 200
    try:
        permissions.check_caller(caller, requirement)
    except Problem as problem:
        return problem.status
    return 200


# --- the table itself ---------------------------------------------------------------------


def test_every_route_and_method_is_in_the_table():
    assert {(key.route, key.method) for key in TABLE} == set(PERMISSIONS)


def test_only_what_is_in_the_table_is_asked():
    assert set(MAKERS) <= set(TABLE)


def test_every_kind_of_caller_is_somebody():
    assert set(CALLERS) == KNOWN | {NOBODY}


@pytest.mark.parametrize("key", TABLE, ids=str)
def test_every_caller_who_passes_has_one_answer_in_each_relation(key):
    rule = TABLE[key]
    for relation, lines in rule.answers.items():
        told = [caller for callers, _ in lines for caller in callers]
        assert len(told) == len(set(told)), relation
        if relation == OWN:
            assert SUBJECTS & rule.passes <= set(told) <= rule.passes
        else:
            assert set(told) == rule.passes, relation


# --- the policy ---------------------------------------------------------------------------


@pytest.mark.parametrize("key", TABLE, ids=str)
def test_those_pass_who_do_so_in_the_table(key):
    passes = TABLE[key].passes
    expected = {who: 200 if who in passes else 403 for who in CALLERS}
    expected[NOBODY] = 200 if passes == EVERYBODY else 401

    assert {who: status(CALLERS[who], key.route, key.method) for who in CALLERS} == expected


@given(
    st.sampled_from(sorted(PERMISSIONS)),
    st.frozensets(st.sampled_from(["enroll", "read", "courses"])),
)
def test_admin_may_whatever_any_scope_may(route, scopes):
    assert status(key("admin"), *route) <= status(key(*scopes), *route)


def test_a_need_that_names_nothing_lets_nobody_pass():
    assert not any(
        permissions.satisfies(caller, permissions.Requirement())
        for caller in CALLERS.values()
        if caller
    )


@pytest.mark.parametrize("who", sorted(KNOWN))
def test_who_acts_for_whom(who):
    people = ("ada", "bob", None)
    acts = (who in SUBJECTS | ENROLLERS, who in ENROLLERS, who in ENROLLERS)
    reads = (who in SUBJECTS | ONLOOKERS, who in ONLOOKERS, who in ONLOOKERS)

    assert tuple(permissions.may_act_for(CALLERS[who], name) for name in people) == acts
    assert tuple(permissions.may_read_about(CALLERS[who], name) for name in people) == reads


@pytest.mark.parametrize("name", ["Ada", "ada ", " ada", "\uff41da", "ada\0", "", "a\u0064\u0307a"])
def test_a_name_that_only_looks_alike_is_somebody_else(name):
    assert not permissions.may_act_for(token(), name)
    assert not permissions.may_read_about(token(), name)


@given(own=st.text(min_size=1), other=st.text())
def test_learners_act_for_themselves_alone(own, other):
    caller = Caller(f"user:{own}", CallerKind.LEARNER, frozenset(), own)

    assert permissions.may_act_for(caller, other) is (own == other)
    assert permissions.may_read_about(caller, other) is (own == other)


@pytest.mark.parametrize("mode", [None, "audit", "honor"])
@pytest.mark.parametrize("who", sorted(KNOWN))
def test_anybody_may_choose_a_free_mode(who, mode):
    permissions.check_mode(CALLERS[who], mode)


@pytest.mark.parametrize("mode", ["verified", "credit", "", "Audit", "audit "])
@pytest.mark.parametrize("who", sorted(KNOWN))
def test_only_learners_are_refused_other_modes(who, mode):
    if who not in LEARNERS:
        permissions.check_mode(CALLERS[who], mode)
        return
    with pytest.raises(Problem) as refusal:
        permissions.check_mode(CALLERS[who], mode)

    assert refusal.value.status == 403
    assert refusal.value.detail == (
        f"User does not have permission to create enrollment with mode [{mode}]."
    )
