"""A receiver gets messages after it has sent a challenge back, and removed endpoints vanish."""

import json
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from sqlalchemy import func, select

from enrollment.domain.webhooks.messages import DisabledReason
from enrollment.domain.webhooks.records import WebhookMembers
from enrollment.storage.tables import WebhookDeliveryRow, WebhookRow
from enrollment.storage.webhooks import deliveries, endpoints
from schemas.webhooks.messages import challenge_message
from tests.integration.test_webhooks import Hooks, new_secret
from tests.support.in_process_service import COURSE, request
from tests.support.webhook_receiver import WebhookReceiver, answers

CREATED = "enrollment.created"
TEXT = "a-random-text"


@pytest.fixture
def hooks(sessions):
    made = Hooks(sessions)
    yield made
    made.http.close()


@pytest.fixture
def enroll(world, hooks):
    world.course(COURSE, modes=["audit"])

    def ask(*users):
        world.ask(*(request(user, COURSE) for user in users))
        world.work()
        hooks.read_all()

    return ask


def challenge(hooks, hook):
    """Queues a challenge, as the gateway does."""
    now = datetime.now(UTC)
    message = challenge_message(hook.id, uuid4(), TEXT, source="/x", now=now)
    with hooks.sessions.begin() as session:
        deliveries.queue_challenge(session, hook.id, message, now=now)
        endpoints.await_answer(session, hook.id, now=now)


def test_nothing_but_the_challenge_is_sent_until_it_is_answered(hooks, enroll):
    secret = new_secret()
    right = answers(200, body=json.dumps({"challenge": TEXT}).encode())
    with WebhookReceiver(answers(204), right, answers(204)) as receiver:
        hook = hooks.add(receiver.url, secret, types=[CREATED])
        enroll("ada")  # waits already when the URL is replaced
        challenge(hooks, hook)
        enroll("ben")
        assert hooks.deliver(hook) == 1
        assert hooks.find(hook).disabled_reason == DisabledReason.UNVERIFIED
        assert [each.error for each in hooks.log(hook) if each.type != CREATED] == [
            "challenge_unanswered"
        ]
        hooks.make_due(hook)
        with hooks.sessions.read() as session:
            assert hook.id in dict(endpoints.find_due(session, now=datetime.now(UTC)))
        assert hooks.deliver(hook) == 1
        assert hooks.find(hook).is_enabled
        enroll("cyd")
        while hooks.deliver(hook):
            continue
        receiver.verified(secret)
    sent = [json.loads(message.body) for message in receiver.received]
    assert [body["type"] for body in sent[:2]] == ["webhook.challenge"] * 2
    assert sent[0]["data"] == {"challenge": TEXT}
    assert sorted(body["data"]["user"] for body in sent[2:]) == ["ada", "cyd"]


@pytest.mark.parametrize(
    ("answer", "is_right"),
    [
        (TEXT.encode(), True),
        (f" {TEXT}\r\n".encode(), True),
        (json.dumps(TEXT).encode(), True),
        (json.dumps({"challenge": TEXT, "ok": True}).encode(), True),
        (b"", False),
        (b"ok", False),
        (json.dumps({"challenge": None}).encode(), False),
        (json.dumps({"challenge": [TEXT]}).encode(), False),
        (json.dumps([TEXT]).encode(), False),
        (json.dumps({"data": {"challenge": TEXT}}).encode(), False),  # a page that echoes
        (b"[" * 500, False),
    ],
)
def test_an_answer_has_the_text_and_not_the_message(hooks, answer, is_right):
    with WebhookReceiver(answers(200, body=answer)) as receiver:
        hook = hooks.add(receiver.url)
        challenge(hooks, hook)
        hooks.deliver(hook)
    assert hooks.find(hook).is_enabled is is_right


def test_an_answer_from_a_url_that_was_replaced_means_nothing(hooks):
    def is_replaced(connection, ended):
        members = WebhookMembers("https://other.example.org/", None, hook.filter)
        with hooks.sessions.begin() as session:
            endpoints.replace(session, hook.id, members)
        answers(200, body=TEXT.encode())(connection, ended)

    with WebhookReceiver(is_replaced) as receiver:
        hook = hooks.add(receiver.url)
        challenge(hooks, hook)
        hooks.deliver(hook)
    assert hooks.find(hook).disabled_reason == DisabledReason.UNVERIFIED


def test_a_receiver_that_refuses_the_challenge_for_good_is_not_asked_again(hooks):
    with WebhookReceiver(answers(410)) as receiver:
        hook = hooks.add(receiver.url)
        challenge(hooks, hook)
        hooks.deliver(hook)
        hooks.make_due(hook)
        assert hooks.deliver(hook) == 0
    assert hooks.find(hook).disabled_reason == "gone"


def test_a_removed_endpoint_is_deleted_in_bounded_portions(hooks, enroll):
    hook = hooks.add("http://127.0.0.1:9/", types=[CREATED])
    kept = hooks.add("http://127.0.0.1:9/", types=[CREATED])
    enroll(*(f"learner{n}" for n in range(5)))
    with hooks.sessions.begin() as session:
        assert endpoints.remove(session, hook.id)
    with hooks.sessions.begin() as session:
        assert not endpoints.remove(session, hook.id)
    assert hooks.deliver(hook) == 0
    enroll("later")
    left = []
    for _ in range(5):
        with hooks.sessions.begin() as session:
            before = datetime.now(UTC) - timedelta(days=1)
            is_more = deliveries.purge(session, before=before, limit=2)
        with hooks.sessions.read() as session:
            rows = select(func.count()).where(WebhookDeliveryRow.webhook_id == hook.id)
            row = select(func.count()).where(WebhookRow.id == hook.id)
            left.append((session.scalar(rows), session.scalar(row), is_more))
    assert left == [(3, 1, True), (1, 1, True), (0, 1, False), (0, 0, False), (0, 0, False)]
    assert len(hooks.log(kept)) == 6
