"""Webhooks: what is queued for whom, and what a receiver gets, whatever it answers."""

import base64
import json
import secrets
import threading
import time
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from sqlalchemy import update

from api_gateway.cli.checks.process_checks import check_webhooks
from enrollment.domain.codes import DeliveryState
from enrollment.domain.model import EPOCH
from enrollment.domain.retries import RETRY_SECONDS
from enrollment.domain.webhooks.messages import WebhookFilter
from enrollment.domain.webhooks.records import WebhookMembers
from enrollment.runtime.outbound.addresses import OutboundPolicy
from enrollment.runtime.outbound.guarded_http import guarded_client
from enrollment.runtime.outbound.secret_encryption import NoEncryptionKey, SecretEncryption
from enrollment.storage.engine.sessions import Sessions
from enrollment.storage.events import last_position
from enrollment.storage.tables import SubmissionRow, WebhookDeliveryRow
from enrollment.storage.webhooks import deliveries, endpoints, positions
from enrollment.storage.webhooks.deliveries import PendingDeliveries
from schemas.webhooks.messages import done_message
from tests.support.in_process_service import COURSE, OTHER, request
from tests.support.webhook_receiver import (
    WebhookReceiver,
    answers,
    drips,
    drops,
    floods,
    hangs,
)
from worker.deliveries.attempt import ANSWER_BYTES, Sender
from worker.deliveries.delivery_loop import DeliveryLoop
from worker.deliveries.endpoint_delivery import EndpointDelivery
from worker.deliveries.fan_out import read_feed, read_submissions

ENCRYPTION = SecretEncryption(["k" * 32])


def new_secret():
    return f"whsec_{base64.b64encode(secrets.token_bytes(32)).decode()}"


class Hooks:
    """Endpoints in a database, and what sends to them. Time goes on when a test says so."""

    def __init__(self, sessions, total=2.0):
        self.sessions = sessions
        self.http = guarded_client(OutboundPolicy(allows_private=True))
        self.delivery = EndpointDelivery(
            sessions=sessions,
            sender=Sender(http=self.http, total=total),
            encryption=lambda: ENCRYPTION,
            random=lambda: 0.5,
        )

    def add(self, url, secret=None, **filters):
        made = WebhookFilter(**{name: frozenset(values) for name, values in filters.items()})
        with self.sessions.begin() as session:
            return endpoints.add(
                session,
                WebhookMembers(url, None, made),
                webhook_id=uuid4(),
                secret=ENCRYPTION.encrypt(secret or new_secret()),
                caller="key:admin",
                now=datetime.now(UTC),
            )

    def read_all(self):
        while read_feed(self.sessions):
            continue
        read_submissions(self.sessions)

    def deliver(self, webhook):
        return self.delivery.deliver_slice(webhook.id)

    def make_due(self, webhook):
        """Lets the waiting time of an endpoint and of its deliveries be over."""
        with self.sessions.begin() as session:
            endpoints.replace(
                session, webhook.id, WebhookMembers(webhook.url, None, webhook.filter)
            )
            past = datetime.now(UTC) - timedelta(days=1)
            row = WebhookDeliveryRow
            is_pending = row.state == "pending"
            session.execute(update(row).where(is_pending).values(next_attempt_at=past))

    def log(self, webhook, state=None):
        with self.sessions.read() as session:
            found = deliveries.page(session, webhook.id, state=state, before=None, limit=1_000)
        return found[::-1]

    def find(self, webhook):
        with self.sessions.read() as session:
            return endpoints.find(session, webhook.id)


@pytest.fixture
def hooks(sessions: Sessions):
    made = Hooks(sessions)
    yield made
    made.http.close()


@pytest.fixture
def ready(world, hooks):
    """A course, and a way to enroll in it: each a change of the feed."""
    for course in (COURSE, OTHER):
        world.course(course, modes=["audit", "verified"])

    def enroll(*users, course=COURSE, **wish):
        world.ask(*(request(user, course, **wish) for user in users))
        world.work()
        hooks.read_all()

    return enroll


def test_a_message_is_signed_and_delivered_once(hooks, ready):
    secret = new_secret()
    with WebhookReceiver() as receiver:
        hook = hooks.add(receiver.url, secret, types=["enrollment.created"])
        ready("ada")
        assert hooks.deliver(hook) == 1
        assert hooks.deliver(hook) == 0
        (message_id,) = receiver.verified(secret)
    body = json.loads(receiver.received[0].body)
    assert body["id"] == message_id
    assert (body["type"], body["data"]["user"]) == ("enrollment.created", "ada")
    (delivery,) = hooks.log(hook)
    assert (delivery.state, delivery.status, delivery.attempts) == ("delivered", 204, 1)


def test_what_is_pending_is_counted_until_the_endpoint_is_disabled(hooks, ready, sessions):
    def pending():
        with sessions.read() as session:
            marks = [each.mark for each in check_webhooks(session)]
            return deliveries.load_pending(session), marks

    assert pending() == (PendingDeliveries(), [])
    webhook = hooks.add("http://127.0.0.1:1/", types=["enrollment.created"])
    ready("ada")
    hooks.read_all()
    found, marks = pending()
    assert found.number == 1
    assert 0 <= found.age(datetime.now(UTC)) < 60
    assert marks == ["note"]
    with sessions.begin() as session:
        endpoints.disable(session, webhook.id, "gone", now=datetime.now(UTC))
    assert pending() == (PendingDeliveries(), [])


def test_filters_decide_what_is_queued(hooks, ready):
    url = "http://127.0.0.1:9/"
    made = {
        "all": hooks.add(url),
        "created": hooks.add(url, types=["enrollment.created"]),
        "done": hooks.add(url, types=["submission.done"]),
        "course": hooks.add(url, courses=[OTHER], types=["enrollment.created"]),
        "org": hooks.add(url, courses=["Uni+*"], types=["enrollment.created"]),
        "other org": hooks.add(url, courses=["Un+*"], types=["enrollment.created"]),
        "caller": hooks.add(url, callers=["sis"]),
        "nobody": hooks.add(url, callers=["key:sis", "si"]),
    }
    ready("ada", "ben")
    ready("ada", course=OTHER)
    queued = {
        name: sorted(each.type.partition(".")[0] for each in hooks.log(hook))
        for name, hook in made.items()
    }
    three, done = ["enrollment"] * 3, ["submission"] * 3
    assert queued == {
        "all": three + done,
        "created": three,
        "done": done,
        "course": three[:1],
        "org": three,
        "other org": [],
        "caller": three + done,
        "nobody": [],
    }


def test_the_message_about_a_submission_has_the_id_of_its_request(ready, sessions):
    ready("ada")
    with sessions.begin() as session:
        session.execute(update(SubmissionRow).values(request_id="the-request"))
        now = datetime.now(UTC)
        done = positions.done_submissions(session, after=EPOCH, until=now, limit=9).found

    bodies = [json.loads(done_message(each, source="s").body or "") for each in done]

    assert [body["data"]["request_id"] for body in bodies] == ["the-request"]


def test_reading_again_queues_nothing_again(hooks, ready, sessions):
    hook = hooks.add("http://127.0.0.1:9/")
    ready("ada")
    before = hooks.log(hook)
    with sessions.begin() as session:
        positions.advance(session, positions.FEED, position=0)
    hooks.read_all()
    assert hooks.log(hook) == before


def test_an_endpoint_receives_what_came_after_it(hooks, ready, sessions):
    ready("ada")
    with sessions.begin() as session:
        positions.advance(session, positions.FEED, position=0)
    hook = hooks.add("http://127.0.0.1:9/", types=["enrollment.created"])
    ready("ben")
    assert [each.position for each in hooks.log(hook)] == [2]


def test_without_endpoints_the_feed_is_passed_over(hooks, ready, sessions):
    ready("ada", "ben")
    with sessions.read() as session:
        assert positions.find_position(session, positions.FEED) == last_position(session) == 2


def test_two_readers_do_not_read_the_same(hooks, ready, sessions):
    if sessions.engine.dialect.name == "sqlite":
        pytest.skip("SQLite has one writer anyway")
    hooks.add("http://127.0.0.1:9/")
    with sessions.begin() as session:
        assert positions.lock(session, positions.FEED)
        ready_without_reading = read_feed(Sessions(sessions.engine))
    assert ready_without_reading in {0, None}


@pytest.mark.parametrize(
    ("behaviour", "status", "error"),
    [
        (answers(500, body=b"no\0pe"), 500, "refused"),
        (answers(400), 400, "refused"),
        (answers(301, "Location: http://127.0.0.1/"), 301, "redirect"),
        (answers(307, "Location: http://127.0.0.1/"), 307, "redirect"),
        (drops, None, "connection_lost"),
        (hangs, None, "timeout"),
        (drips, None, "timeout"),
    ],
)
def test_a_failure_is_tried_again_with_the_same_id_and_bytes(
    hooks, ready, behaviour, status, error
):
    secret = new_secret()
    with WebhookReceiver(behaviour, answers(200)) as receiver:
        hook = hooks.add(receiver.url, secret, types=["enrollment.created"])
        ready("ada")
        assert hooks.deliver(hook) == 1
        (failed,) = hooks.log(hook)
        assert (failed.state, failed.status, failed.error) == ("pending", status, error)
        waits = failed.next_attempt_at - failed.attempted_at
        assert waits == timedelta(seconds=RETRY_SECONDS[0])
        assert hooks.deliver(hook) == 0  # the endpoint rests
        hooks.make_due(hook)
        assert hooks.deliver(hook) == 1
        first, second = receiver.verified(secret)
        assert receiver.connections == 2  # no redirect was followed
    assert first == second
    assert receiver.received[0].body == receiver.received[1].body
    (delivered,) = hooks.log(hook)
    assert (delivered.state, delivered.attempts) == ("delivered", 2)
    assert hooks.find(hook).failures == 0


def test_an_endless_answer_is_a_success_of_which_the_start_is_kept(hooks, ready):
    with WebhookReceiver(floods) as receiver:
        hook = hooks.add(receiver.url, types=["enrollment.created"])
        ready("ada")
        hooks.deliver(hook)
    (delivery,) = hooks.log(hook)
    assert (delivery.state, delivery.answer) == ("delivered", "y" * ANSWER_BYTES)


def test_retry_after_is_respected(hooks, ready):
    with WebhookReceiver(answers(429, "Retry-After: 3600")) as receiver:
        hook = hooks.add(receiver.url, types=["enrollment.created"])
        ready("ada")
        hooks.deliver(hook)
    (delivery,) = hooks.log(hook)
    assert delivery.next_attempt_at - delivery.attempted_at == timedelta(hours=1)


def test_gone_disables_the_endpoint(hooks, ready):
    with WebhookReceiver(answers(410), answers(200)) as receiver:
        hook = hooks.add(receiver.url, types=["enrollment.created"])
        ready("ada")
        hooks.deliver(hook)
        assert hooks.find(hook).disabled_reason == "gone"
        hooks.make_due(hook)
        ready("ben")
        assert hooks.deliver(hook) == 0
        assert len(hooks.log(hook)) == 1
        with hooks.sessions.begin() as session:
            endpoints.enable(session, hook.id)
        assert hooks.deliver(hook) == 1


def test_after_the_last_attempt_a_delivery_has_failed(hooks, ready):
    with WebhookReceiver(answers(500)) as receiver:
        hook = hooks.add(receiver.url, types=["enrollment.created"])
        ready("ada")
        for _ in range(len(RETRY_SECONDS) + 1):
            hooks.make_due(hook)
            assert hooks.deliver(hook) == 1
        hooks.make_due(hook)
        assert hooks.deliver(hook) == 0
    (delivery,) = hooks.log(hook, DeliveryState.FAILED)
    assert (delivery.attempts, delivery.next_attempt_at) == (len(RETRY_SECONDS) + 1, None)


def test_messages_of_one_enrollment_stay_in_order_and_others_pass(hooks, ready):
    with WebhookReceiver(answers(500), answers(200)) as receiver:
        hook = hooks.add(receiver.url, types=["enrollment.created", "enrollment.mode_changed"])
        ready("ada")
        hooks.deliver(hook)
        ready("ada", mode="verified")
        ready("ben")
        with hooks.sessions.begin() as session:
            endpoints.enable(session, hook.id)  # it rests no longer; the message does
        assert hooks.deliver(hook) == 1
        hooks.make_due(hook)
        assert [hooks.deliver(hook) for _ in range(3)] == [1, 1, 0]
    sent = [json.loads(message.body) for message in receiver.received]
    assert [(each["data"]["user"], each["type"].partition(".")[2]) for each in sent] == [
        ("ada", "created"),
        ("ben", "created"),
        ("ada", "created"),
        ("ada", "mode_changed"),
    ]


def test_two_secrets_sign_during_a_rotation(hooks, ready):
    old, new = new_secret(), new_secret()
    with WebhookReceiver() as receiver:
        hook = hooks.add(receiver.url, old, types=["enrollment.created"])
        with hooks.sessions.begin() as session:
            until = datetime.now(UTC) + timedelta(hours=24)
            endpoints.rotate(session, hook.id, ENCRYPTION.encrypt(new), previous_until=until)
        ready("ada")
        hooks.deliver(hook)
        assert receiver.verified(old) == receiver.verified(new)
        assert len(receiver.received[0].headers["webhook-signature"].split()) == 2
        with hooks.sessions.begin() as session:
            over = datetime.now(UTC) - timedelta(seconds=1)
            endpoints.rotate(session, hook.id, ENCRYPTION.encrypt(old), previous_until=over)
        ready("ben")
        hooks.deliver(hook)
        assert len(receiver.received[1].headers["webhook-signature"].split()) == 1


def test_one_process_sends_to_an_endpoint_at_a_time(hooks, ready, sessions):
    hook = hooks.add("http://127.0.0.1:9/", types=["enrollment.created"])
    ready("ada")
    now = datetime.now(UTC)
    later = now + timedelta(minutes=1)
    with sessions.begin() as session:
        assert endpoints.lease(session, hook.id, now=now, until=later)
    assert hooks.deliver(hook) == 0
    with sessions.begin() as session:  # the process with the lease was killed
        assert endpoints.lease(session, hook.id, now=later, until=later)


def test_a_private_address_is_refused_where_it_is_sent(hooks, ready):
    with guarded_client(OutboundPolicy()) as http, WebhookReceiver() as receiver:
        delivery = EndpointDelivery(
            sessions=hooks.sessions, sender=Sender(http=http), encryption=lambda: ENCRYPTION
        )
        hook = hooks.add(receiver.url, types=["enrollment.created"])
        ready("ada")
        delivery.deliver_slice(hook.id)
    assert receiver.received == []
    assert [each.error for each in hooks.log(hook)] == ["destination_refused"]


def test_without_the_key_nothing_is_sent_and_nothing_is_lost(hooks, ready):
    def no_key():
        raise NoEncryptionKey("none")

    with WebhookReceiver() as receiver:
        hook = hooks.add(receiver.url, types=["enrollment.created"])
        ready("ada")
        delivery = EndpointDelivery(
            sessions=hooks.sessions, sender=hooks.delivery.sender, encryption=no_key
        )
        assert delivery.deliver_slice(hook.id) == 0
        hooks.make_due(hook)
        assert hooks.deliver(hook) == 1


def test_slow_endpoints_do_not_delay_others(hooks, ready, sessions):
    """More hang than there are threads for those that fail, and one works."""
    with WebhookReceiver(hangs) as slow, WebhookReceiver() as quick:
        for _ in range(12):
            hooks.add(slow.url, types=["enrollment.created"])
        works = hooks.add(quick.url, types=["enrollment.created"])
        loop = DeliveryLoop(sessions, hooks.delivery)
        loop.start()
        try:
            for n in range(5):
                ready(f"learner{n}")
            eventually(lambda: len(quick.received) >= 5)
        finally:
            loop.stop()
    assert len(hooks.log(works, DeliveryState.DELIVERED)) == 5


def eventually(condition, seconds=30.0):
    """Waits for something that threads do."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        threading.Event().wait(0.02)


def test_the_log_is_purged(hooks, ready, sessions):
    hook = hooks.add("http://127.0.0.1:9/")
    with WebhookReceiver() as receiver:
        hook = hooks.add(receiver.url, types=["enrollment.created"])
        ready("ada", "ben")
        hooks.deliver(hook)
    future = datetime.now(UTC) + timedelta(days=1)
    with sessions.begin() as session:
        deliveries.purge(session, before=future, limit=100)
    assert hooks.log(hook) == []
