"""What each caller may state about an enrollment: generated from the table of members."""

import pytest

from tests.support.gateway import fresh
from tests.support.relations.callers import ENROLLERS, KNOWN, LEARNERS, ROLES
from tests.support.relations.cast import Cast
from tests.support.relations.fields import APPLIED, FIELDS, IGNORED, MODES
from tests.support.relations.model import Answer


@pytest.fixture(scope="module")
def cast(gateway):
    """The callers and their things, on each sort of database."""
    return Cast(gateway)


def make_course(cast, rule):
    """A course for one request; the callers with roles have them there."""
    org = fresh("Org")
    members = dict(rule.course)
    modes = members.pop("modes", MODES)
    course_id = cast.gateway.course(*modes, course_id=f"course-v1:{org}+C+1", **members)
    return org, course_id


def give_role(cast, caller, course_id):
    if caller in ROLES:
        path = f"roles/{course_id}/{cast.usernames[caller]}"
        cast.gateway.call("PUT", path, cast.gateway.admin, json={"role": ROLES[caller]})


def target_of(cast, caller):
    if caller in LEARNERS:
        return cast.usernames[caller]
    return cast.gateway.person() if caller in ENROLLERS else cast.other_learner


def state_of(cast, user, org, course_id):
    """What is stored of the learner in the course."""
    history = cast.gateway.get(f"enrollment/{user},{course_id}/history", cast.gateway.admin)
    learner = cast.gateway.get(f"learners/{user}", cast.gateway.admin).json
    opt_in = learner["email_opt_in"].get(org)
    return history.json["events"][-1]["data"]["after"] | {"email_opt_in": opt_in}


def outcome_of(cast, rule, caller):
    """What the member does for the caller, in the words of the table."""
    org, course_id = make_course(cast, rule)
    give_role(cast, caller, course_id)
    user = target_of(cast, caller)
    for body in rule.before:
        assert cast.gateway.enroll(cast.gateway.admin, course_id, user, **body).status_code == 200
    answer = cast.gateway.enroll(cast.headers[caller], course_id, user, **rule.body)
    if answer.status_code >= 400:
        code = answer.json["code"] if answer.content else ""
        return Answer(answer.status_code, code, is_empty=not answer.content)
    state = state_of(cast, user, org, course_id)
    for word, expected in ((APPLIED, rule.applied), (IGNORED, rule.ignored)):
        if expected and {name: state.get(name) for name in expected} == expected:
            return word
    return state


@pytest.mark.parametrize("rule", FIELDS, ids=lambda rule: rule.name)
def test_every_caller_is_in_the_table_once(rule):
    told = [caller for callers, _ in rule.all_lines for caller in callers]

    assert sorted(told) == sorted(KNOWN)


@pytest.mark.parametrize("rule", FIELDS, ids=lambda rule: rule.name)
def test_a_member_does_for_each_caller_what_the_table_says(cast, rule):
    expected = {caller: answer for callers, answer in rule.all_lines for caller in callers}

    assert {caller: outcome_of(cast, rule, caller) for caller in expected} == expected
