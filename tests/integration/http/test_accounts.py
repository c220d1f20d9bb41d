"""Accounts of learners in the form of the Open edX user API."""

from urllib.parse import quote

import pytest

from tests.support.gateway import fresh
from tests.support.statements import recorded_statements

ACCOUNTS, ME = "/api/user/v1/accounts", "/api/user/v1/me"


@pytest.fixture
def person(gateway):
    """A learner with an e-mail address; returns the account."""
    email = f"{fresh('a')}+x@example.org"
    user = gateway.person(email=email)
    return {"username": user, "email": email, "is_active": True}


@pytest.mark.parametrize("kind", ["staff", "admin", "edx", "enroll", "read"])
@pytest.mark.parametrize("path", [ACCOUNTS, ACCOUNTS + "/"])
def test_staff_and_servers_find_accounts(gateway, person, kind, path):
    who = gateway.key(kind) if kind in {"enroll", "read"} else getattr(gateway, kind)
    queries = (
        f"username={person['username']}",
        f"email={quote(person['email'])}",
        f"email={person['email'].upper()}",
        f"username={fresh('missing')},{person['username']}",
    )
    for query in queries:
        answer = gateway.get(f"{path}?{query}", who)
        assert (answer.status_code, answer.json) == (200, [person]), query
        assert answer.headers["content-type"] == "application/json"


def test_several_accounts_are_listed_in_the_order_of_the_request(gateway):
    users = [gateway.person(), gateway.person(is_active=False)]
    wanted = f"{users[1]},{users[0]},{users[1]}"
    found = gateway.get(f"{ACCOUNTS}?username={wanted}", gateway.edx).json
    assert [one["username"] for one in found] == [users[1], users[0]]
    assert [one["is_active"] for one in found] == [False, True]


@pytest.mark.parametrize(
    "query",
    ["username=missing-one", "email=x@nowhere.org", "email=nonsense", "username=", "email="],
)
def test_without_an_account_it_is_404(gateway, query):
    for who in (gateway.edx, gateway.learner(gateway.person())):
        answer = gateway.get(f"{ACCOUNTS}?{query}", who)
        assert (answer.status_code, answer.json["message"]) == (404, "Not found.")
        assert answer.headers["content-type"] == "application/json"
    assert gateway.get(ACCOUNTS, gateway.edx).status_code == 404


def test_learners_find_themselves_and_cannot_tell_others_from_missing_ones(gateway, person):
    other, seen = gateway.person(), []
    own = gateway.learner(person["username"])
    for query in ("", f"?username={person['username']}", f"?email={quote(person['email'])}"):
        assert gateway.get(ACCOUNTS + query, own).json == [person]
    both = gateway.get(f"{ACCOUNTS}?username={other},{person['username']}", own)
    assert both.json == [person]
    with recorded_statements(gateway.sessions.engine) as statements:
        for named in (other, fresh("missing")):
            statements.clear()
            answer = gateway.get(f"{ACCOUNTS}?username={named}", own)
            headers = {key: text for key, text in answer.headers.items() if key != "x-request-id"}
            seen.append((answer.status_code, answer.content, headers, list(statements)))
    assert seen[0] == seen[1]
    assert seen[0][0] == 404


def test_a_learner_who_is_not_registered_yet_has_an_account(gateway):
    user = fresh("new")
    account = {"username": user, "email": None, "is_active": True}
    for query in ("", f"?username={user}"):
        assert gateway.get(ACCOUNTS + query, gateway.learner(user)).json == [account]
    assert gateway.get(f"{ACCOUNTS}?username={user}", gateway.edx).status_code == 404


def test_a_key_of_another_scope_sees_no_accounts(gateway, person):
    answer = gateway.get(f"{ACCOUNTS}?username={person['username']}", gateway.key("courses"))
    assert answer.status_code == 404


@pytest.mark.parametrize("path", [ME, ME + "/"])
def test_me_is_the_subject_of_the_token(gateway, path):
    user = fresh("ann")
    for who in (gateway.learner(user), gateway.learner(user) | gateway.server):
        answer = gateway.get(path, who)
        assert (answer.status_code, answer.json) == (200, {"username": user})
        assert answer.headers["content-type"] == "application/json"
    for who in ({}, gateway.edx, gateway.admin):
        nobody = gateway.get(path, who)
        assert nobody.status_code == 401
        assert nobody.headers["www-authenticate"].startswith("JWT ")


@pytest.mark.parametrize("end", ["", "/"])
def test_an_account_is_found_by_its_path(gateway, person, end):
    path = f"{ACCOUNTS}/{quote(person['username'])}{end}"

    for who in (gateway.edx, gateway.staff, gateway.learner(person["username"])):
        answer = gateway.get(path, who)
        assert (answer.status_code, answer.json) == (200, person)


def test_by_path_somebody_else_is_like_nobody(gateway, person):
    who, seen = gateway.learner(gateway.person()), []
    for username in (person["username"], fresh("missing")):
        with recorded_statements(gateway.sessions.engine) as statements:
            answer = gateway.get(f"{ACCOUNTS}/{username}", who)
        seen.append((answer.status_code, answer.content, [*statements]))

    assert seen[0] == seen[1]
    assert seen[0][0] == 404
