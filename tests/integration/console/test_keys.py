"""API keys and OAuth clients in the console: created, shown once, rotated, revoked."""

import re
from urllib.parse import urlencode

import pytest

from api_gateway.auth.api_keys import digest_of
from enrollment.storage.credentials import api_keys, oauth_clients
from tests.support.console_browser import FORM, logged_in
from tests.support.gateway import ago, fresh, utc_now

SECRET = re.compile(r"en[rs]_[A-Za-z0-9_-]{43}")


@pytest.fixture
def name():
    return fresh("sis-")


def create(admin, name, **fields):
    admin.get("/console/keys")
    return admin.send("/console/keys", {"name": name, "scope_read": "1", **fields})


def secret_in(page):
    assert page.status_code == 201, page.text
    assert page.headers["cache-control"] == "private, no-store"
    (secret,) = SECRET.findall(page.text)
    return secret


def keys_named(gateway, name):
    with gateway.sessions.read() as session:
        return api_keys.find_by_name(session, name)


def test_a_new_key_works_and_is_shown_once(gateway, admin, name):
    secret = secret_in(create(admin, name, days="5"))
    (key,) = keys_named(gateway, name)

    assert key.scopes == {"read"}
    assert 4 < (key.expires_at - utc_now()).days + 1 <= 5
    assert gateway.get("enrollments", {"X-Edx-Api-Key": secret}).status_code == 200
    for path in ("/console/keys", f"/console/keys/{key.id}"):
        page = admin.get(path)
        assert name in page.text
        assert secret not in page.text
    with gateway.sessions.read() as session:
        assert api_keys.find_by_digest(session, digest_of(secret)).id == key.id


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"name": "Sis Nightly"}, "cannot be the name of a key"),
        ({"name": "edx"}, "ENROLL_EDX_API_KEY"),
        ({"scope_read": ""}, "at least one scope"),
        ({"days": "0"}, "number of days"),
        ({"days": "99999"}, "number of days"),
        ({"days": "\u0661"}, "number of days"),
        ({"name": "<img src=x>"}, "&lt;img"),
    ],
)
def test_a_key_that_cannot_be_is_refused_with_the_form_as_it_was(admin, name, fields, says):
    page = create(admin, **{"name": name, **fields})

    assert page.status_code == 400
    assert says in page.text
    assert "<details" in page.text
    assert " open>" in page.text
    assert "<img" not in page.text
    assert not SECRET.search(page.text)


def test_a_name_that_is_in_use_is_refused(gateway, admin, name):
    create(admin, name)

    assert "is in use" in create(admin, name).text
    assert len(keys_named(gateway, name)) == 1


def test_a_rotation_gives_a_successor_and_a_second_form_none(gateway, admin, name):
    first = secret_in(create(admin, name))
    (key,) = keys_named(gateway, name)
    page = admin.get(f"/console/keys/{key.id}")
    fields = {"newest": re.search(r'name="newest" value="(\d+)"', page.text)[1]}
    second = secret_in(admin.send(f"/console/keys/{key.id}/rotate", fields))
    admin.get(f"/console/keys/{key.id}")
    again = admin.send(f"/console/keys/{key.id}/rotate", fields)

    assert again.status_code == 409
    before, after = keys_named(gateway, name)
    assert after.scopes == before.scopes
    for secret in (first, second):
        assert gateway.get("enrollments", {"X-Edx-Api-Key": secret}).status_code == 200
    assert f"/console/keys/{after.id}" in admin.get(f"/console/keys/{key.id}").text


def test_a_revoked_key_ends(gateway, admin, name):
    create(admin, name)
    (key,) = keys_named(gateway, name)
    admin.get(f"/console/keys/{key.id}")
    sent = admin.send(f"/console/keys/{key.id}/revoke")

    assert (sent.status_code, sent.headers["location"]) == (303, "/console/keys")
    (revoked,) = keys_named(gateway, name)
    assert revoked.revoked_at is not None
    assert "Rotate" not in admin.get(f"/console/keys/{key.id}").text
    assert admin.send(f"/console/keys/{key.id}/revoke").status_code == 303
    assert keys_named(gateway, name) == [revoked]
    assert "never given again" in create(admin, name).text


def test_expired_keys_are_listed_apart(gateway, admin, name):
    with gateway.sessions.begin() as session:
        api_keys.add(
            session,
            name=name,
            scopes=frozenset({"read"}),
            digest=name.encode(),
            now=ago(days=2),
            expires_at=ago(days=1),
        )
    before, _, after = admin.get("/console/keys").text.partition("Revoked or expired")

    assert name not in before
    assert name in after


def create_client(admin, client_id, **fields):
    admin.get("/console/keys/clients")
    return admin.send("/console/keys/clients", {"client_id": client_id, "user": "wanda", **fields})


def test_a_client_gets_tokens_until_it_is_revoked(gateway, admin, name):
    secret = secret_in(create_client(admin, name, staff="1"))
    with gateway.sessions.read() as session:
        client = oauth_clients.find(session, name)

    assert (client.username, client.is_staff) == ("wanda", True)
    asked = {"client_id": name, "client_secret": secret, "grant_type": "client_credentials"}
    token = gateway.post(
        "/oauth2/access_token", headers={"Content-Type": FORM}, body=urlencode(asked)
    )
    assert token.status_code == 200, token.text
    page = admin.get("/console/keys/clients")
    assert name in page.text
    assert secret not in page.text
    assert admin.send(f"/console/keys/clients/{client.id}/revoke").status_code == 303
    with gateway.sessions.read() as session:
        assert oauth_clients.find(session, name) is None


@pytest.mark.parametrize(
    ("fields", "says"),
    [({"client_id": "a b"}, "cannot be the id"), ({"user": ""}, "not a valid username")],
)
def test_a_client_that_cannot_be_is_refused(admin, name, fields, says):
    page = create_client(admin, **{"client_id": name, **fields})

    assert page.status_code == 400
    assert says in page.text


def test_a_client_id_is_never_given_again_and_not_that_of_the_settings(small):
    made = small(oauth_clients="shop:a-secret-of-the-settings:shopkeeper")
    admin = logged_in(made, made.admin)
    create_client(admin, "portal")

    assert "never given again" in create_client(admin, "portal").text
    assert "ENROLL_OAUTH_CLIENTS" in create_client(admin, "shop").text
    page = admin.get("/console/keys/clients").text
    assert "shopkeeper" in page
    assert "a-secret-of-the-settings" not in page
