"""GET /eligibility: the outcome that a request would have, with nothing written."""

import pytest

from enrollment.domain.model import Invitation, Mode
from enrollment.storage import invitations
from tests.support.gateway import AUDIT, HONOR, VERIFIED, ago, ahead, fresh, utc_now
from tests.support.row_counts import row_counts


def ask(gateway, user, course_id, who=None, query=""):
    answer = gateway.get(f"eligibility/{user},{course_id}{query}", who or gateway.server)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/json"
    return answer.json


def test_who_would_be_enrolled_is_eligible_and_stays_outside(gateway):
    user, course_id = fresh("ann"), gateway.course(HONOR, AUDIT)
    assert ask(gateway, user, course_id) == {
        "user": user,
        "course_id": course_id,
        "eligible": True,
        "outcome": "enrolled",
        "reason": None,
        "message": None,
        "mode": "audit",
    }
    assert ask(gateway, user, course_id, query="?mode=honor")["mode"] == "honor"
    assert gateway.get(f"learners/{user}", gateway.admin).status_code == 404
    assert gateway.get(f"enrollment/{user},{course_id}", gateway.admin).content == b""
    assert row_counts(gateway.settings.database_url, course_id)[:3] == (0, 0, 0)


CASES = [
    ({"enrollment_start": ahead(days=1)}, "", "enrollment_not_open", "opens_at"),
    ({"enrollment_end": ago(days=1)}, "", "enrollment_closed", "closed_at"),
    ({"invite_only": True}, "", "invite_required", None),
    ({"capacity": 0}, "", "course_full", "capacity"),
    ({}, "?mode=gold", "mode_unavailable", "offered"),
]


@pytest.mark.parametrize(("members", "query", "reason", "fact"), CASES)
def test_a_refusal_says_why_and_when(gateway, members, query, reason, fact):
    found = ask(gateway, fresh("ann"), gateway.course(AUDIT, **members), query=query)
    assert (found["eligible"], found["outcome"], found["reason"]) == (False, "refused", reason)
    assert found["message"]
    assert fact is None or fact in found
    assert found["mode"] == ("gold" if query else None)


@pytest.mark.parametrize(("members", "query", "reason", "fact"), CASES)
def test_the_request_itself_has_the_same_outcome(gateway, members, query, reason, fact):
    user, course_id = fresh("ann"), gateway.course(AUDIT, **members)
    mode = {"mode": query.partition("=")[2]} if query else {}
    answer = gateway.enroll(gateway.server, course_id, user, **mode)
    assert answer.json["code"] == ask(gateway, user, course_id, query=query)["reason"]


def test_an_unknown_course_is_named_as_the_reason(gateway):
    found = ask(gateway, fresh("ann"), "course-v1:No+Such+1")
    assert (found["eligible"], found["reason"]) == (False, "course_not_found")


def test_an_invitation_makes_eligible(gateway):
    user = gateway.person(email=f"{fresh('a')}@example.org")
    course_id = gateway.course(AUDIT, invite_only=True)
    assert ask(gateway, user, course_id)["reason"] == "invite_required"
    email = gateway.get(f"learners/{user}", gateway.admin).json["email"]
    with gateway.sessions.begin() as session:
        invitations.save(session, Invitation(course_id, email), now=utc_now())
    assert ask(gateway, user, course_id)["eligible"] is True


def test_what_is_true_already_is_eligible_and_unchanged(gateway):
    user, course_id = fresh("ann"), gateway.course(AUDIT, VERIFIED)
    gateway.enroll(gateway.server, course_id, user)
    assert ask(gateway, user, course_id)["outcome"] == "unchanged"
    changed = ask(gateway, user, course_id, query="?mode=verified")
    assert (changed["eligible"], changed["outcome"]) == (True, "mode_changed")
    own = ask(gateway, user, course_id, gateway.learner(user), "?mode=verified")
    assert (own["eligible"], own["reason"], own["mode"]) == (False, "not_permitted", "verified")


def test_a_paid_mode_that_another_caller_withdrew_is_not_taken_back(gateway):
    paid = Mode(slug="verified", min_price=49)
    user, course_id = fresh("ann"), gateway.course(AUDIT, paid)
    gateway.enroll(gateway.server, course_id, user, mode="verified")
    gateway.enroll(gateway.server, course_id, user, is_active=False)
    for who, mode in ((gateway.learner(user), "audit"), (gateway.server, "verified")):
        found = ask(gateway, user, course_id, who)
        assert (found["outcome"], found["mode"]) == ("reactivated", mode)


def test_the_rights_are_those_of_the_caller(gateway):
    late = Mode(slug="verified", expires_at=ago(days=1))
    user, course_id = fresh("ann"), gateway.course(AUDIT, late)
    gateway.enroll(gateway.server, course_id, user)
    server = ask(gateway, user, course_id, gateway.server, "?mode=verified")
    staff = ask(gateway, user, course_id, gateway.staff, "?mode=verified")
    assert (server["eligible"], staff["eligible"]) == (True, False)
    assert staff["reason"] == "mode_expired"


@pytest.mark.parametrize("form", ["{user},{course}", "{course}"])
def test_learners_ask_about_themselves(gateway, form):
    user, course_id = fresh("ann"), gateway.course(AUDIT)
    path = form.format(user=user, course=course_id.replace("+", "%2B"))
    answer = gateway.get(f"eligibility/{path}/", gateway.learner(user))
    assert (answer.status_code, answer.json["user"]) == (200, user)


def test_of_others_it_is_404_whoever_they_are(gateway):
    user, course_id = fresh("ann"), gateway.course(AUDIT)
    gateway.enroll(gateway.server, course_id, user)
    seen = []
    for named, course in ((user, course_id), ("missing", course_id), ("missing", "no key")):
        for who in (gateway.learner("eve"), gateway.key("courses")):
            answer = gateway.get(f"eligibility/{named},{course}", who)
            seen.append((answer.status_code, answer.content))
    assert len(set(seen)) == 1
    assert seen[0][0] == 404


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("ann,no key", "invalid_course_id"),
        ("x*y,course-v1:a+b+c", "invalid_username"),
        ("ann,course-v1:a+b+c?mode=" + "x" * 101, "option_invalid"),
        ("ann,course-v1:a+b+c?mode=", "option_invalid"),
        ("ann,course-v1:a+b+c?modes=x", "option_invalid"),
    ],
)
def test_what_cannot_be_read_is_400(gateway, path, code):
    answer = gateway.get(f"eligibility/{path}", gateway.server)
    assert (answer.status_code, answer.json["code"]) == (400, code)
    assert answer.headers["content-type"] == "application/problem+json"


def test_unknown_learners_are_refused_where_they_must_be_known(start):
    gateway = start(unknown_learners="refuse")
    course_id, known = gateway.course(AUDIT), gateway.person()
    assert ask(gateway, fresh("ann"), course_id)["reason"] == "learner_not_found"
    assert ask(gateway, known, course_id)["eligible"] is True
