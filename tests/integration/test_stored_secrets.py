"""`/readyz` and `enroll doctor` notice that stored secrets cannot be decrypted."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import falcon.asgi
import pytest
from falcon import testing

from api_gateway.cli.checks.process_checks import check_stored_secrets
from api_gateway.database import Database
from api_gateway.resources.health import ReadyResource
from enrollment.domain.destinations.records import Destination
from enrollment.domain.webhooks.records import WebhookFilter, WebhookMembers
from enrollment.runtime.outbound.secret_encryption import NoEncryptionKey, SecretEncryption
from enrollment.storage.destinations import registry
from enrollment.storage.webhooks import endpoints

ONE, OTHER = (SecretEncryption([letter * 40]) for letter in "ab")
BOTH = SecretEncryption(["b" * 40, "a" * 40])


def no_key():
    raise NoEncryptionKey("there is no key to encrypt secrets with")


@pytest.fixture
def look(sessions):
    """What `/readyz` finds, and the marks and messages of the doctor, with a key."""
    database = Database(sessions, threads=1)

    def look(encryption):
        resource = ReadyResource(
            database=database,
            ping_redis=lambda: True,
            now=lambda: datetime.now(UTC),
            broker=None,
            encryption=encryption,
        )
        app = falcon.asgi.App()
        app.add_route("/readyz", resource)
        answer = testing.TestClient(app).simulate_get("/readyz")
        assert answer.status_code == 200
        found = [each for each in answer.json["findings"] if "stored secrets" in each]
        with sessions.read() as session:
            checks = list(check_stored_secrets(session, encryption))
        assert [each.message for each in checks] == found
        assert all(
            each.mark == "wrong" and "ENROLL_ENCRYPTION_KEY" in each.advice for each in checks
        )
        assert bool(found) <= (answer.json["status"] == "degraded")
        return found

    yield look
    database.close()


@pytest.fixture
def webhook(sessions):
    """A webhook whose secret, and then another, is encrypted with a key."""

    def add(key, *, rotated_with=None, previous_until=None):
        now, id_ = datetime.now(UTC), uuid4()
        members = WebhookMembers("https://example.org/", None, WebhookFilter())
        with sessions.begin() as session:
            endpoints.add(
                session,
                members,
                webhook_id=id_,
                secret=key.encrypt("s"),
                caller="key:admin",
                now=now,
            )
            if rotated_with is not None:
                new = rotated_with.encrypt("t")
                endpoints.rotate(session, id_, new, previous_until=previous_until)
        return id_

    return add


@pytest.fixture
def destination(sessions):
    def put(name, key):
        made = Destination(
            name,
            "openedx",
            "https://lms",
            frozenset(),
            concurrency=4,
            requests_per_second=None,
            is_paused=False,
            pull_courses_every=None,
        )
        now = datetime.now(UTC)
        with sessions.begin() as session:
            registry.put(session, made, key.encrypt("a"), destination_id=uuid4(), now=now)

    return put


def test_without_stored_secrets_no_key_is_needed(look):
    assert look(no_key) == []


def test_secrets_of_another_key_are_a_finding_until_the_key_is_back(look, webhook, destination):
    id_ = webhook(ONE)
    destination("lms", ONE)
    destination("other", OTHER)

    assert look(lambda: BOTH) == []
    (found,) = look(lambda: OTHER)
    assert f"to webhook {id_}, destination lms, whose" in found
    assert "encrypted with a key that is not in use here" in found
    (found,) = look(no_key)
    assert "destination lms, destination other, whose" in found
    assert found.endswith("there is no key to encrypt secrets with")


@pytest.mark.parametrize(("hours", "is_found"), [(1, True), (-1, False)])
def test_a_former_secret_counts_while_it_signs(look, webhook, hours, is_found):
    webhook(ONE, rotated_with=OTHER, previous_until=datetime.now(UTC) + timedelta(hours=hours))

    assert bool(look(lambda: OTHER)) == is_found


def test_of_many_a_few_are_named(look, destination):
    for number in range(7):
        destination(f"lms{number}", ONE)

    (found,) = look(lambda: OTHER)
    assert "lms4 and 2 more, whose" in found
