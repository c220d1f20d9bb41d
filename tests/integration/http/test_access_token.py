"""`POST /oauth2/access_token`: every form of request, every error, and what the tokens are."""

import time
from urllib.parse import quote_plus

import jwt
import pytest
from structlog.testing import capture_logs

from api_gateway.auth.oauth_clients import CLIENT_CACHE_SECONDS
from api_gateway.auth.signing_keys import rotate_signing_key
from enrollment.domain.model import Learner
from enrollment.storage import learners
from enrollment.storage.credentials import oauth_clients
from tests.support.gateway import AUDIT, EDX_KEY, Gateway, fresh
from tests.support.oauth import (
    FORM,
    PATH,
    SECRET,
    add_client,
    as_json,
    basic,
    form,
    grant,
    multipart,
    revoke_client,
)

CLIENTS = f"shop:{SECRET}:shop_worker:staff,portal:{SECRET}:portal"


@pytest.fixture
def client(gateway):
    """The id of a client of the database."""
    name = fresh("client-")
    add_client(gateway.sessions, name, user=f"{name}-user", staff=True)
    return name


def token_of(gateway, client_id, **more):
    answer = gateway.post(PATH, **form(grant(client_id, **more)))
    assert answer.status_code == 200, answer.text
    return answer.json["access_token"]


def learner_of(gateway, username):
    with gateway.sessions.read() as session:
        return learners.find(session, username)


@pytest.mark.parametrize("path", [PATH, f"{PATH}/"])
@pytest.mark.parametrize("send", [form, multipart, as_json])
def test_a_client_gets_a_token(gateway, client, path, send):
    answer = gateway.post(path, **send(grant(client, token_type="JWT")))

    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["pragma"] == "no-cache"
    assert set(answer.json) == {"access_token", "expires_in", "token_type", "scope"}
    assert answer.json["expires_in"] == 3600
    assert type(answer.json["expires_in"]) is int
    assert answer.json["scope"] == "read write profile email"
    assert SECRET not in answer.text


@pytest.mark.parametrize(
    ("asked", "answered"),
    [("jwt", "JWT"), ("JWT", "JWT"), ("Jwt", "JWT"), ("bearer", "Bearer"), ("BEARER", "Bearer")],
)
def test_the_type_of_token_is_as_asked(gateway, client, asked, answered):
    answer = gateway.post(PATH, **form(grant(client, token_type=asked)))

    assert answer.json["token_type"] == answered


def test_the_type_may_be_missing(gateway, client):
    assert gateway.post(PATH, **form(grant(client))).json["token_type"] == "Bearer"


def test_the_credentials_may_be_in_basic(gateway, client):
    only_grant = form({"grant_type": "client_credentials"})
    both = form(grant(client))
    for request in (only_grant, both):
        answer = gateway.post(PATH, basic(client), **request)
        assert answer.status_code == 200, answer.text


def test_a_secret_in_basic_may_be_encoded_or_not(start):
    secret = "plus+and%2Bpercent+++"
    gateway = start(oauth_clients=f"a:{secret}:ada")
    for sent in (secret, quote_plus(secret)):
        answer = gateway.post(PATH, basic("a", sent), **form({"grant_type": "client_credentials"}))
        assert answer.status_code == 200, answer.text


def test_two_clients_at_once_are_refused(gateway, client):
    answer = gateway.post(PATH, basic("other"), **form(grant(client)))

    assert (answer.status_code, answer.json["error"]) == (400, "invalid_request")


def test_a_refused_client_is_logged_without_its_secret(gateway):
    with capture_logs() as records:
        gateway.post(PATH, **form(grant("nobody")))

    (record,) = [each for each in records if each["event"] == "auth.failed"]
    assert (record["way"], record["code"]) == ("token", "invalid_client")
    assert record["reason"] == "The client is unknown, or its secret is wrong."
    assert SECRET not in str(record)


REFUSED = {
    "no body": ({}, 400, "invalid_request"),
    "no grant": ({"client_id": "x", "client_secret": "y"}, 400, "invalid_request"),
    "password": (
        {"grant_type": "password", "username": "ada", "password": "p", "client_id": "x"},
        400,
        "unsupported_grant_type",
    ),
    "refresh": (
        {"grant_type": "refresh_token", "refresh_token": "t"},
        400,
        "unsupported_grant_type",
    ),
    "no client": ({"grant_type": "client_credentials"}, 401, "invalid_client"),
    "no secret": ({"grant_type": "client_credentials", "client_id": "x"}, 401, "invalid_client"),
    "unknown client": (grant("nobody"), 401, "invalid_client"),
    "bad type": (grant("x", token_type="mac"), 400, "invalid_request"),
    "bad scope": (grant("x", scope="read world"), 400, "invalid_scope"),
}


@pytest.mark.parametrize(("fields", "status", "error"), REFUSED.values(), ids=REFUSED)
def test_what_is_refused_says_so_as_oauth_does(gateway, fields, status, error):
    answer = gateway.post(PATH, **form(fields))

    assert (answer.status_code, answer.json["error"]) == (status, error), answer.text
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.json["error_description"] == answer.json["detail"]
    assert answer.json["code"] == error
    assert answer.json["status"] == status
    assert ("www-authenticate" in answer.headers) is (status == 401)


@pytest.mark.parametrize(
    "request_",
    [
        {"body": "{", "headers": {"Content-Type": "application/json"}},
        as_json(["grant_type"]),
        as_json({"grant_type": 7}),
        {"body": b"\xff", "headers": {"Content-Type": FORM}},
        {"body": "a=b", "headers": {"Content-Type": "multipart/form-data"}},
        {"body": "--x--", "headers": {"Content-Type": "multipart/form-data; boundary=ä"}},
        {"body": "x", "headers": {"Content-Type": "multipart/form-data; boundary=x"}},
        {"body": "a=b", "headers": {"Content-Type": "text/plain"}},
        {"body": "a=" + "b" * 20_000, "headers": {"Content-Type": FORM}},
        form([("grant_type", "client_credentials")] * 2),
        {"body": "a=b", "headers": {"Content-Type": FORM, "Authorization": "Basic !"}},
    ],
)
def test_a_body_that_cannot_be_read_is_an_invalid_request(gateway, request_):
    answer = gateway.post(PATH, **request_)

    assert answer.status_code in {400, 413, 415}, answer.text
    assert answer.json["error"] == "invalid_request"
    assert not set(answer.json["error_description"]) & set('"\\')


def test_a_malformed_basic_is_an_invalid_request(gateway):
    for header in ("Basic !", "Basic", "Basic YQ==", "Basic gIA6gIA="):
        request = form({"grant_type": "client_credentials"})
        answer = gateway.post(PATH, {"Authorization": header}, **request)
        assert (answer.status_code, answer.json["error"]) == (400, "invalid_request")


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_other_methods_are_405(gateway, method):
    answer = gateway.call(method, PATH)

    assert (answer.status_code, answer.headers["allow"]) == (405, "POST, OPTIONS")


def test_an_unknown_client_is_refused_like_a_wrong_secret(gateway, client):
    """The same answer after the same queries, so that ids cannot be guessed."""
    asked = []
    original = gateway.parts.auth_database.read

    async def counting(query, *args, **more):
        asked.append(query)
        return await original(query, *args, **more)

    gateway.parts.auth_database.read = counting
    try:
        answers, queries = [], []
        for name in (client, "nobody"):
            asked.clear()
            answer = gateway.post(PATH, **form(grant(name, "another secret that is wrong")))
            answers.append((answer.status_code, answer.text))
            queries.append([*asked])
    finally:
        gateway.parts.auth_database.read = original

    assert answers[0] == answers[1]
    assert answers[0][0] == 401
    assert queries[0] == queries[1]


def test_no_secret_is_logged(gateway, client):
    wrong = "a wrong secret that nobody may read"
    with capture_logs() as logs:
        answers = [
            gateway.post(PATH, **form(grant(client))),
            gateway.post(PATH, **form(grant(client, wrong))),
            gateway.post(PATH, basic(client, wrong), **form(grant(client))),
            gateway.post(PATH, **form(grant(client, wrong, token_type=wrong, scope=wrong))),
        ]

    said = repr(logs) + "".join(answer.text for answer in answers)
    assert SECRET not in said
    assert wrong not in said


@pytest.mark.parametrize("scheme", ["JWT", "jwt", "Bearer", "bearer"])
def test_the_token_is_that_of_the_clients_user(gateway, client, scheme):
    course = gateway.course(AUDIT)
    headers = {"Authorization": f"{scheme} {token_of(gateway, client)}"}

    answer = gateway.enroll(headers, course)
    assert answer.status_code == 200, answer.text
    assert answer.json["user"] == f"{client}-user"
    others = gateway.enroll(headers, course, user="ada", mode="audit")
    assert others.status_code == 200, others.text
    assert gateway.get("enrollment", headers).json[0]["user"] == f"{client}-user"


def test_a_key_beside_the_token_adds_its_scopes(gateway):
    name = fresh("client-")
    add_client(gateway.sessions, name, user=name)
    headers = {"Authorization": f"Bearer {token_of(gateway, name)}"}

    assert gateway.get("courses", headers).status_code == 403
    assert gateway.get("courses", {**headers, "X-Edx-Api-Key": EDX_KEY}).status_code == 200


def test_the_claims_are_those_of_a_token_of_ours(gateway):
    name, user = fresh("client-"), gateway.person(email=f"{fresh('mail')}@example.org")
    add_client(gateway.sessions, name, user=user)

    first, second = (
        jwt.decode(token_of(gateway, name), options={"verify_signature": False}) for _ in range(2)
    )

    assert first["sub"] == first["preferred_username"] == user
    assert first["email"] == learner_of(gateway, user).email
    assert first["administrator"] is False
    assert first["client_id"] == name
    assert first["scope"] == "read write profile email"
    assert first["exp"] - first["iat"] == 3600
    assert first["jti"] != second["jti"]


def test_the_user_is_registered_and_a_known_one_stays(gateway, client):
    assert learner_of(gateway, f"{client}-user") is None
    token_of(gateway, client)
    assert learner_of(gateway, f"{client}-user") == Learner(f"{client}-user", is_staff=True)

    name, user = fresh("client-"), gateway.person(email=f"{fresh('mail')}@example.org")
    before = learner_of(gateway, user)
    add_client(gateway.sessions, name, user=user, staff=True)
    token_of(gateway, name)
    assert learner_of(gateway, user) == before


def test_a_revoked_client_ends_with_its_tokens(gateway):
    name = fresh("client-")
    number = add_client(gateway.sessions, name, user=name)
    headers = {"Authorization": f"JWT {token_of(gateway, name)}"}
    assert gateway.get("enrollment", headers).status_code == 200

    revoke_client(gateway.sessions, number)
    assert gateway.post(PATH, **form(grant(name))).status_code == 401
    authenticator = gateway.parts.authenticator
    later = authenticator._clock() + CLIENT_CACHE_SECONDS
    authenticator._clock = authenticator.clients._stored._clock = lambda: later
    answer = gateway.get("enrollment", headers)
    assert (answer.status_code, answer.json["error_code"]) == (401, "token_nonexistent")


def test_the_use_of_a_client_is_recorded(gateway, client):

    def used():
        with gateway.sessions.read() as session:
            return oauth_clients.find(session, client).last_used_at

    usage = gateway.parts.authenticator.clients._usage
    assert gateway.post(PATH, **form(grant(client, "a wrong secret, guessed"))).status_code == 401
    gateway.until(lambda: usage._writing is None)
    assert used() is None
    token_of(gateway, client)
    gateway.until(used)


# --- clients of the settings


def test_clients_of_the_settings_get_tokens(start):
    gateway = start(oauth_clients=CLIENTS)
    staff = {"Authorization": f"JWT {token_of(gateway, 'shop')}"}
    learner = {"Authorization": f"JWT {token_of(gateway, 'portal')}"}

    assert gateway.get("enrollments", staff).status_code == 200
    assert gateway.get("enrollments", learner).status_code == 403
    assert gateway.post(PATH, **form(grant("shop", "x" * 20))).status_code == 401


def test_users_of_the_settings_are_learners_before_their_first_token(start):
    gateway = start(oauth_clients=CLIENTS)

    assert learner_of(gateway, "shop_worker") == Learner("shop_worker", is_staff=True)
    assert learner_of(gateway, "portal") == Learner("portal")


def test_a_gateway_starts_on_tables_of_an_earlier_release(tmp_path):
    made = Gateway(f"sqlite:///{tmp_path / 'empty.sqlite3'}", oauth_clients=CLIENTS)
    try:
        assert made.get("/livez").status_code == 200
        assert made.get("/readyz").status_code == 503
    finally:
        made.close()


def test_the_tokens_of_a_client_end_when_it_is_taken_out_of_the_settings(start):
    before = start(oauth_clients=CLIENTS)
    headers = {"Authorization": f"JWT {token_of(before, 'shop')}"}

    after = start(oauth_clients=CLIENTS.partition(",")[2])
    assert after.get("enrollments", headers).status_code == 401
    no_staff = start(oauth_clients=CLIENTS.replace(":staff", ""))
    assert no_staff.get("enrollments", headers).status_code == 403
    other_user = start(oauth_clients=CLIENTS.replace("shop_worker", "someone"))
    assert other_user.get("enrollments", headers).status_code == 401


def test_a_token_lives_no_longer_than_tokens_may(start):
    gateway = start(oauth_clients=CLIENTS, jwt_max_lifetime="90")
    answer = gateway.post(PATH, **form(grant("shop")))

    assert answer.json["expires_in"] == 90
    headers = {"Authorization": f"JWT {answer.json['access_token']}"}
    assert gateway.get("enrollments", headers).status_code == 200


def test_a_gateway_without_a_key_says_which_setting_to_set(start, tmp_path):
    (tmp_path / "none").mkdir()
    (tmp_path / "none").chmod(0o1777)  # a folder that all share, where no key is put
    gateway = start(oauth_clients=CLIENTS, signing_key="", data_dir=str(tmp_path / "none"))
    answer = gateway.post(PATH, **form(grant("shop")))

    assert answer.status_code == 503
    assert "ENROLL_SIGNING_KEY" in answer.json["message"]
    switched_off = start(oauth_clients=CLIENTS, own_tokens="false")
    answer = switched_off.post(PATH, **form(grant("shop")))
    assert answer.status_code == 503
    assert "ENROLL_OWN_TOKENS" in answer.json["message"]


def test_tokens_of_two_processes_are_valid_while_the_key_is_replaced(start, tmp_path):
    """Both keys verify in both processes, whichever of them has read the file again."""
    file = tmp_path / "signing.key"
    rotate_signing_key(file, now=time.time(), keep_seconds=0)
    both = [
        start(oauth_clients=CLIENTS, signing_key="", signing_key_file=str(file)) for _ in range(2)
    ]
    before = token_of(both[0], "shop")
    rotate_signing_key(file, now=time.time(), keep_seconds=3600)
    after = token_of(both[0], "shop")

    kids = {jwt.get_unverified_header(token)["kid"] for token in (before, after)}
    assert len(kids) == 2
    for gateway in both:
        for token in (before, after):
            headers = {"Authorization": f"JWT {token}"}
            assert gateway.get("enrollments", headers).status_code == 200
    rotate_signing_key(file, now=time.time(), keep_seconds=0)
    last = token_of(both[0], "shop")
    third = start(oauth_clients=CLIENTS, signing_key="", signing_key_file=str(file))
    found = {
        token: third.get("enrollments", {"Authorization": f"JWT {token}"}).status_code
        for token in (before, after, last)
    }
    assert found == {before: 401, after: 401, last: 200}
