"""`enroll clients`, and what the doctor says about clients."""

import json

import pytest

from api_gateway.auth.api_keys import digest_of
from api_gateway.cli.checks.signing_checks import check_clients
from enrollment.domain.model import Learner
from enrollment.runtime.settings import from_env
from enrollment.storage import learners
from enrollment.storage.credentials import oauth_clients
from enrollment.storage.engine.sessions import sessions_for

SECRET = "a secret of more than sixteen characters"


@pytest.fixture
def stored(tmp_path):
    """Reads something from the records in the data folder."""

    def read(query, *args):
        sessions = sessions_for(f"sqlite:///{tmp_path}/data/enrollment.sqlite3")
        with sessions.read() as session:
            found = query(session, *args)
        sessions.dispose()
        return found

    return read


def test_clients_are_made_listed_and_revoked(enroll, stored):
    enroll("db", "upgrade")

    made = enroll("clients", "create", "shop", "--user", "shop_worker", "--staff")
    secret = made.stdout.splitlines()[-1]

    assert secret.startswith("ens_")
    client = stored(oauth_clients.find, "shop")
    assert (client.username, client.is_staff) == ("shop_worker", True)
    assert client.digest == digest_of(secret)
    assert stored(learners.find, "shop_worker") == Learner("shop_worker", is_staff=True)
    listed = enroll("clients", "list").stdout
    assert listed.startswith("1\tshop\tshop_worker\tstaff\tcreated ")
    assert listed.endswith("\tnever used\tin use\n")
    assert secret not in listed
    assert enroll("clients", "revoke", 1).stdout == "Client 1 is revoked.\n"
    assert stored(oauth_clients.find, "shop") is None
    assert "revoked" in enroll("clients", "list").stdout
    assert enroll("clients", "revoke", 1).exit_code == 2


def test_an_id_is_given_once(enroll):
    enroll("db", "upgrade")
    create = ("clients", "create", "shop", "--user", "ada")

    assert enroll(*create).exit_code == 0
    assert enroll(*create).exit_code == 2
    enroll("clients", "revoke", 1)
    again = enroll(*create)
    assert again.exit_code == 2
    assert "never given again" in again.stderr


def test_clients_are_printed_as_json(enroll):
    enroll("db", "upgrade")

    made = json.loads(enroll("clients", "create", "a", "--user", "ada", "--json").stdout)
    assert made["secret"].startswith("ens_")
    assert made | {"secret": ""} == {
        "id": 1,
        "client_id": "a",
        "user": "ada",
        "staff": False,
        "secret": "",
    }
    (listed,) = json.loads(enroll("clients", "list", "--json").stdout)["clients"]
    assert (listed["client_id"], listed["revoked_at"], listed["last_used_at"]) == ("a", None, None)
    assert json.loads(enroll("clients", "revoke", 1, "--json").stdout) == {"revoked": 1}


@pytest.mark.parametrize(
    ("name", "user"), [("a b", "ada"), ("a:b", "ada"), ("", "ada"), ("a", "nan"), ("a", "a/b")]
)
def test_names_that_cannot_be_used_are_refused(enroll, name, user):
    enroll("db", "upgrade")

    assert enroll("clients", "create", name, "--user", user).exit_code == 2
    assert enroll("clients", "list").stdout == ""


def test_a_client_of_the_settings_is_not_made_again(enroll, monkeypatch):
    enroll("db", "upgrade")
    monkeypatch.setenv("ENROLL_OAUTH_CLIENTS", f"shop:{SECRET}:ada")

    refused = enroll("clients", "create", "shop", "--user", "ada")
    assert refused.exit_code == 2
    assert "ENROLL_OAUTH_CLIENTS" in refused.stderr
    assert SECRET not in refused.output


@pytest.mark.parametrize(
    ("more", "mark", "advice"),
    [
        ({"ENROLL_SIGNING_KEY": "k" * 32}, "ok", ""),
        ({}, "note", "the first gateway makes it when it starts"),
        ({"ENROLL_OWN_TOKENS": "false"}, "wrong", "unset ENROLL_OWN_TOKENS"),
    ],
)
def test_the_doctor_looks_for_the_key_that_signs_their_tokens(tmp_path, more, mark, advice):
    clients = {"ENROLL_OAUTH_CLIENTS": f"shop:{SECRET}:ada"}
    folder = {"ENROLL_DATA_DIR": str(tmp_path)}

    (found,) = check_clients(from_env({**clients, **folder, **more}))
    assert (found.mark, found.advice[: len(advice)]) == (mark, advice)
    assert not list(check_clients(from_env({**folder, **more})))
