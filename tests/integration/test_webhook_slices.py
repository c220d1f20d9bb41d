"""Slices of messages for one endpoint: several at once, in order for each enrollment."""

import json
import threading
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from sqlalchemy import event, update

from enrollment.domain.codes import DeliveryState
from enrollment.storage.tables import WebhookDeliveryRow
from enrollment.storage.webhooks import deliveries, endpoints, positions
from tests.integration.test_webhooks import ENCRYPTION, Hooks
from tests.support.in_process_service import COURSE, request, row
from tests.support.service_processes import wait_until
from tests.support.webhook_receiver import WebhookReceiver, answers
from worker.background import keyed_threads, sending_loop
from worker.deliveries import delivery_loop, endpoint_delivery, fan_out
from worker.deliveries.delivery_loop import DeliveryLoop
from worker.deliveries.endpoint_delivery import IN_FLIGHT, EndpointDelivery
from worker.deliveries.fan_out import read_feed, read_submissions

CREATED = "enrollment.created"


@pytest.fixture
def hooks(sessions):
    made = Hooks(sessions)
    yield made
    made.http.close()


@pytest.fixture
def enroll(world, hooks):
    world.course(COURSE, modes=["audit", "verified"])

    def ask(*users, **wish):
        world.ask(*(request(user, COURSE, **wish) for user in users))
        world.work()
        hooks.read_all()

    return ask


def sent_to(receiver):
    bodies = [json.loads(message.body) for message in receiver.received]
    return [(body["data"]["user"], body["type"].partition(".")[2]) for body in bodies]


def test_while_files_are_processed_slices_are_short_and_far_between(
    world, hooks, enroll, monkeypatch
):
    monkeypatch.setattr(delivery_loop, "YIELDING_SLICE", 2)
    monkeypatch.setattr(sending_loop, "LONGEST_REST", 3_600.0)
    with WebhookReceiver() as receiver:
        hook = hooks.add(receiver.url, types=[CREATED])
        enroll("ada", "ben", "carol")
        world.send([row("dan")])  # a file that no worker has taken
        loop = DeliveryLoop(hooks.sessions, hooks.delivery)
        loop.start()
        try:
            wait_until(lambda: len(hooks.log(hook, DeliveryState.DELIVERED)) == 2)
        finally:
            loop.stop()
        assert len(receiver.received) == 2


def test_an_endpoint_for_which_there_was_no_thread_has_its_turn_later(hooks, enroll, monkeypatch):
    failures = [RuntimeError("can't start new thread")]

    class ScarceThread(threading.Thread):
        def start(self):
            if failures:
                raise failures.pop()
            super().start()

    with WebhookReceiver() as receiver:
        hook = hooks.add(receiver.url, types=[CREATED])
        enroll("ada")
        loop = DeliveryLoop(hooks.sessions, hooks.delivery)
        monkeypatch.setattr(keyed_threads, "threading", SimpleNamespace(Thread=ScarceThread))
        loop.start()
        try:
            wait_until(lambda: hooks.log(hook, DeliveryState.DELIVERED))
        finally:
            loop.stop()
    assert failures == []


def test_a_message_that_was_retried_late_is_not_overtaken(hooks, enroll, monkeypatch):
    """The earlier message of an enrollment became due last, and did not fit into the slice."""
    monkeypatch.setattr(endpoint_delivery, "MESSAGES_PER_SLICE", 2)
    with WebhookReceiver() as receiver:
        hook = hooks.add(receiver.url, types=[CREATED, "enrollment.mode_changed"])
        enroll("ada")
        enroll("ada", mode="verified")
        enroll("ben")
        hooks.make_due(hook)
        first = hooks.log(hook)[0].id
        late = datetime.now(UTC) - timedelta(seconds=1)
        with hooks.sessions.begin() as session:
            row = WebhookDeliveryRow
            session.execute(update(row).where(row.id == first).values(next_attempt_at=late))
        while hooks.deliver(hook):
            continue
    assert len(receiver.received) == 3
    of_ada = [kind for user, kind in sent_to(receiver) if user == "ada"]
    assert of_ada == ["created", "mode_changed"]


def test_messages_of_different_enrollments_are_on_their_way_at_once(hooks, enroll):
    together = threading.Barrier(IN_FLIGHT)

    def meets(connection, ended):
        together.wait(20)  # BrokenBarrierError, and no answer, if they come one by one
        answers(204)(connection, ended)

    with WebhookReceiver(meets) as receiver:
        hook = hooks.add(receiver.url, types=[CREATED])
        enroll(*(f"learner{n}" for n in range(IN_FLIGHT)))
        hooks.http.timeout = 20.0
        assert hooks.deliver(hook) == IN_FLIGHT
    assert len(hooks.log(hook, DeliveryState.DELIVERED)) == IN_FLIGHT


def test_an_endpoint_whose_last_attempt_failed_gets_one_message(hooks, enroll):
    with WebhookReceiver(answers(500), answers(200)) as receiver:
        hook = hooks.add(receiver.url, types=[CREATED])
        enroll("ada")
        assert hooks.deliver(hook) == 1
        enroll("ben", "cyd", "dan")
        hooks.make_due(hook)
        assert hooks.find(hook).failures == 1
        assert [hooks.deliver(hook), hooks.deliver(hook)] == [1, 3]


def test_a_lease_that_is_over_changes_nothing(hooks, enroll):
    """The slice took so long that another process has the endpoint now."""
    other = datetime.now(UTC).replace(microsecond=0) + timedelta(minutes=7)

    def loses_the_lease(connection, ended):
        with hooks.sessions.begin() as session:
            assert endpoints.lease(session, hook.id, now=other, until=other)
        answers(204)(connection, ended)

    with WebhookReceiver(loses_the_lease) as receiver:
        hook = hooks.add(receiver.url, types=[CREATED])
        enroll("ada")
        assert hooks.deliver(hook) == 1
    assert len(hooks.log(hook, DeliveryState.DELIVERED)) == 1  # that was true all the same
    with hooks.sessions.begin() as session:
        now = other - timedelta(seconds=1)
        assert endpoints.lease(session, hook.id, now=now, until=other) is None


def test_a_message_that_cannot_be_sent_does_not_take_others_with_it(hooks, enroll):
    """Its event is missing, or sending raises: it alone fails, and is tried again later."""
    with WebhookReceiver() as receiver:
        hook = hooks.add(receiver.url, types=[CREATED])
        enroll("ada", "ben")
        without, _ = hooks.log(hook)
        with hooks.sessions.begin() as session:
            row = WebhookDeliveryRow
            session.execute(update(row).where(row.id == without.id).values(position=999))
        hooks.deliver(hook)
        with hooks.sessions.begin() as session:
            endpoints.enable(session, hook.id)
        hooks.deliver(hook)
    missing, delivered = hooks.log(hook)
    assert (missing.state, missing.error, missing.attempts) == ("pending", "event_missing", 1)
    assert delivered.state == "delivered"


def test_an_error_of_ours_counts_as_a_failed_attempt(hooks, enroll):
    """A stored secret that is no secret: an endpoint with it must not be tried without a pause."""
    hook = hooks.add("http://127.0.0.1:9/", secret="whsec_é", types=[CREATED])
    enroll("ada")
    delivery = EndpointDelivery(
        sessions=hooks.sessions, sender=hooks.delivery.sender, encryption=lambda: ENCRYPTION
    )
    assert delivery.deliver_slice(hook.id) == 1
    (failed,) = hooks.log(hook)
    assert (failed.error, failed.attempts) == ("internal_error", 1)
    assert hooks.find(hook).failures == 1


def test_an_endpoint_that_is_added_beside_the_reader_misses_nothing(hooks, enroll, world):
    """It is added, and something happens, after the reader saw that there is no endpoint."""
    if hooks.sessions.engine.dialect.name == "sqlite":
        pytest.skip("SQLite has one writer: nothing can happen beside the reader")
    enroll("ada")
    with hooks.sessions.begin() as session:
        positions.advance(session, positions.FEED, position=0)
    made = []

    def add_once(_connection, _cursor, statement, *_):
        if not made and "ORDER BY webhook.created" in statement:
            made.append(None)
            made.append(hooks.add("http://127.0.0.1:9/", types=[CREATED]))
            world.ask(request("ben", COURSE))
            world.work()

    event.listen(hooks.sessions.engine, "after_cursor_execute", add_once)
    try:
        read_feed(hooks.sessions)
    finally:
        event.remove(hooks.sessions.engine, "after_cursor_execute", add_once)
    hooks.read_all()
    assert [each.position for each in hooks.log(made[1])] == [2]


def test_bodies_are_those_of_the_feed_wherever_they_are_in_it(hooks, enroll):
    """Positions that are far from one another, and next to one another."""
    with WebhookReceiver() as receiver:
        hook = hooks.add(receiver.url, types=["enrollment.mode_changed"])
        users = [f"learner{n}" for n in range(130)]
        enroll(*users[:3])
        enroll(*users[:2], mode="verified")
        enroll(*users[3:])
        enroll(*users[100:110], mode="verified")
        while hooks.deliver(hook):
            continue
    assert sorted(sent_to(receiver)) == sorted(
        (user, "mode_changed") for user in (*users[:2], *users[100:110])
    )


def test_purge_takes_bounded_portions(hooks, enroll):
    with WebhookReceiver() as receiver:
        hook = hooks.add(receiver.url, types=[CREATED])
        enroll(*(f"learner{n}" for n in range(5)))
        hooks.deliver(hook)
    future = datetime.now(UTC) + timedelta(days=1)
    left = []
    for _ in range(3):
        with hooks.sessions.begin() as session:
            deliveries.purge(session, before=future, limit=2)
        left.append(len(hooks.log(hook)))
    assert left == [3, 1, 0]


def test_no_end_of_a_submission_is_left_out_where_many_end_at_once(
    hooks, enroll, world, monkeypatch
):
    """They end in the same transaction, long ago, and do not fit into one read."""
    monkeypatch.setattr(fan_out, "SUBMISSIONS_PER_SLICE", 4)
    monkeypatch.setattr(fan_out, "VISIBLE_AFTER", timedelta())
    hook = hooks.add("http://127.0.0.1:9/", types=["submission.done"])
    for users in (("a", "b", "c"), ("d", "e", "f")):
        world.ask(*(request(user, COURSE) for user in users))
        world.work()
    for _ in range(4):
        read_submissions(hooks.sessions)
    assert len(hooks.log(hook)) == 6
