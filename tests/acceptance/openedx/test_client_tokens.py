"""Tokens and header schemes exactly as published clients of Open edX send them."""

import pytest

from tests.support.openedx_client import (
    CLIENT_SECRET,
    KEY,
    PLAIN_CLIENT,
    STAFF_CLIENT,
    OpenEdxClient,
    as_learner,
    ok,
    token,
)

CREDENTIALS = {"client_id": STAFF_CLIENT[0], "client_secret": CLIENT_SECRET}
GRANT = {"grant_type": "client_credentials"}


def ask(client: OpenEdxClient, path: str = "/oauth2/access_token", **how: object):
    return client.send_raw("POST", path, **how)


@pytest.mark.parametrize("path", ["/oauth2/access_token", "/oauth2/access_token/"])
@pytest.mark.parametrize("token_type", ["jwt", "JWT", "bearer", "Bearer", None])
def test_a_client_gets_a_token_for_its_credentials_in_the_form(edx, path, token_type):
    named = {} if token_type is None else {"token_type": token_type}
    answer = ask(edx, path, data={**GRANT, **CREDENTIALS, **named})
    shown = ok(answer)
    assert answer.headers["cache-control"] == "no-store"
    assert type(shown["expires_in"]) is int
    assert shown["expires_in"] > 5
    assert isinstance(shown["scope"], str)
    assert shown["token_type"].lower() == (token_type or shown["token_type"]).lower()
    for scheme in ("JWT", "Bearer"):
        headers = {"Authorization": f"{scheme} {shown['access_token']}"}
        assert ok(edx.get("/api/user/v1/me", headers))["username"] == STAFF_CLIENT[1]


def test_credentials_may_come_by_basic_authentication(edx):
    answer = ask(edx, data=GRANT, auth=(STAFF_CLIENT[0], CLIENT_SECRET))
    assert ok(answer)["access_token"]


def test_a_token_of_a_client_is_of_its_user(edx):
    course, other = edx.course(), edx.learner()
    plain = {"client_id": PLAIN_CLIENT[0], "client_secret": CLIENT_SECRET}
    headers = {
        "Authorization": "JWT " + ok(ask(edx, data={**GRANT, **plain}))["access_token"],
    }
    assert edx.enroll(headers, course, user=other).status_code == 404
    assert ok(edx.enroll(headers, course))["user"] == PLAIN_CLIENT[1]
    assert ok(edx.get("/roles/", headers))["is_staff"] is False


@pytest.mark.parametrize(
    ("changed", "statuses"),
    [
        pytest.param({"client_secret": "wrong"}, {400, 401}, id="secret"),
        pytest.param({"client_id": "nobody"}, {400, 401}, id="client"),
        pytest.param(
            {"grant_type": "password", "username": "u", "password": "p"}, {400}, id="grant"
        ),
        pytest.param({"grant_type": "refresh_token", "refresh_token": "x"}, {400}, id="refresh"),
    ],
)
def test_what_is_no_client_gets_no_token(edx, changed, statuses):
    refused = ask(edx, data={**GRANT, **CREDENTIALS, **changed})
    assert refused.status_code in statuses
    assert refused.json()["error"] in {"invalid_client", "unsupported_grant_type"}
    assert "access_token" not in refused.json()


@pytest.mark.parametrize("scheme", ["JWT", "Bearer", "jwt", "bearer"])
def test_a_token_is_taken_under_both_schemes(edx, scheme):
    user = edx.learner()
    headers = {"Authorization": f"{scheme} {token(user)}"}
    assert ok(edx.enroll(headers, edx.course()))["user"] == user


def test_a_key_and_a_token_together_are_its_subject_with_the_rights_of_the_key(edx):
    course, user, other = edx.course("audit", "verified"), edx.learner(), edx.learner()
    both = {**KEY, **as_learner(user)}
    assert ok(edx.enroll(both, course))["user"] == user
    assert ok(edx.enroll(both, course, user=other, mode="verified"))["mode"] == "verified"


@pytest.mark.parametrize("headers", [{"X-Edx-Api-Key": "wrong"}, {"Authorization": "JWT x"}])
def test_wrong_credentials_are_401(edx, headers):
    refused = edx.get("/enrollment", headers)
    assert refused.status_code == 401
    assert refused.headers["www-authenticate"]
