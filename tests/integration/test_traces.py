"""One trace from a submission to what became of it, on each sort of database."""

import json

import fakeredis
import pytest
from redis import ConnectionError as RedisConnectionError
from sqlalchemy import select

from enrollment.domain.destinations.records import ApplyResult
from enrollment.domain.errors import Conflict
from enrollment.runtime.tracing.spans import current_traceparent
from enrollment.storage.tables import SubmissionRow
from intake_store.group_store import SingleRequest
from tests.integration.test_webhooks import Hooks
from tests.support.in_process_service import COURSE, SERVER, request, row
from tests.support.inbound import REPLIES, Inbound, one
from tests.support.recorded_spans import (
    SPAN,
    TRACE,
    TRACEPARENT,
    ids,
    recorded_spans,
    traceparent_of,
)
from tests.support.relays import publish_all, stream_relay
from tests.support.scripted_destination import Destinations
from tests.support.webhook_receiver import WebhookReceiver, answers
from worker.processing.transaction import BatchTransaction

OTHER = f"00-{'b' * 32}-{'c' * 16}-01"


@pytest.fixture
def spans():
    with recorded_spans() as recorded:
        yield recorded


def traced(user, traceparent=TRACEPARENT):
    return SingleRequest(SERVER, request(user), 0.0, traceparent=traceparent)


def stored(world):
    with world.sessions.read() as session:
        query = select(SubmissionRow.traceparent).order_by(SubmissionRow.id)
        return list(session.scalars(query))


def test_each_submission_of_a_group_has_its_processing_in_its_own_trace(world, spans):
    world.course()
    group = world.take_in(traced("ada"), traced("bob", OTHER), traced("cem", None))
    (batch,) = group.dispatch
    assert batch.traceparents == (TRACEPARENT, OTHER)
    world.work()

    found = spans.named("process batch")
    assert sorted(map(ids, found)) == [(TRACE, SPAN), ("b" * 32, "c" * 16)]
    commits = {ids(each) for each in spans.named("commit")}
    assert commits == {(ids(each)[0], traceparent_of(each).split("-")[2]) for each in found}
    (of_ada,) = (each for each in found if ids(each)[0] == TRACE)
    assert dict(of_ada.attributes) == {
        "messaging.system": "celery",
        "messaging.operation.type": "process",
        "messaging.batch.message_count": 1,
        "enroll.batch_id": batch.id,
        "enroll.lane": "interactive",
        "enroll.result": "done",
        "enroll.submission_id": str(group.results[0].submission_id),
    }
    assert sorted(filter(None, stored(world))) == [TRACEPARENT, OTHER]


def test_a_file_has_a_span_for_each_transaction(world, spans):
    world.batch_rows = 2
    world.one_at_a_time()
    world.course()
    sent = world.send([row(f"ada{n}") for n in range(5)], traceparent=TRACEPARENT)
    world.work()

    found = spans.named("process batch")
    assert [ids(each) for each in found] == [(TRACE, SPAN)] * 3
    assert [each.attributes["enroll.batch_id"] for each in found] == world.batch_ids(sent)
    assert {each.attributes["enroll.lane"] for each in found} == {"bulk"}


def test_an_attempt_that_failed_is_shown_as_one(world, spans, monkeypatch):
    world.course()
    world.take_in(traced("ada"))

    def loses(*_, **__):
        raise Conflict("ada was enrolled by another")

    with monkeypatch.context() as patch:
        patch.setattr(BatchTransaction, "run", loses)
        with pytest.raises(Conflict):
            world.work()
    found = spans.named("process batch")
    assert {each.attributes["enroll.result"] for each in found} == {"conflict"}
    assert {each.attributes["error.type"] for each in found} == {"Conflict"}
    assert spans.named("commit") == []


def test_while_traces_are_off_no_context_is_stored_and_none_is_asked_for(world, statements):
    world.course()
    with fakeredis.FakeRedis() as redis:
        inbound = Inbound(world, redis)
        inbound.append(one(), traceparent=TRACEPARENT)
        inbound.consume()
    world.ask(request("bob"))
    world.work()
    assert stored(world) == [None, None]
    assert not any("INTO submission" in each and "traceparent" in each for each in statements)


def test_a_webhook_is_sent_in_the_trace_of_its_submission(world, spans):
    hooks = Hooks(world.sessions)
    world.course()
    with WebhookReceiver(answers(500), answers(204)) as receiver:
        hook = hooks.add(receiver.url, types=["enrollment.created", "submission.done"])
        world.take_in(traced("zuzanna"))
        world.work()
        hooks.read_all()
        while len(receiver.received) < 3:
            hooks.make_due(hook)
            hooks.deliver(hook)
    hooks.http.close()

    found = spans.named("send webhook")
    assert [ids(each) for each in found] == [(TRACE, SPAN)] * 3
    headers = [each.headers["traceparent"] for each in receiver.received]
    assert sorted(headers) == sorted(map(traceparent_of, found))
    (failed,) = (each for each in found if each.attributes["http.response.status_code"] == 500)
    assert (failed.attributes["error.type"], failed.status.is_ok) == ("refused", False)
    told = json.dumps([dict(each.attributes) for each in spans.all()])
    assert COURSE not in told
    assert "zuzanna" not in told


def test_a_message_without_a_trace_begins_one(world, spans):
    hooks = Hooks(world.sessions)
    world.course()
    with WebhookReceiver() as receiver:
        hook = hooks.add(receiver.url, types=["enrollment.created"])
        world.ask(request("ada"))
        world.work()
        hooks.read_all()
        hooks.deliver(hook)
    hooks.http.close()
    assert ids(spans.the("send webhook"))[1] == ""
    assert receiver.received[0].headers["traceparent"] == traceparent_of(spans.the("send webhook"))


def test_a_state_is_sent_in_the_trace_of_the_last_change(world, spans):
    destinations = Destinations(world.sessions)
    lms = destinations.add()
    world.course()
    world.take_in(traced("ada"), traced("bob"))
    world.work()
    world.take_in(
        SingleRequest(SERVER, request("ada", is_active=False), 0.0, traceparent=OTHER),
        SingleRequest(SERVER, request("cem"), 0.0),
    )
    world.work()
    destinations.read_all()
    seen = {}

    def sees(state):
        seen[state.username] = (current_traceparent() or "").split("-")[1]
        return ApplyResult(400, "no such mode", "refused", is_permanent=True)

    destinations.kinds["lms"].else_ = sees
    assert destinations.deliver(lms) == 3
    destinations.delivery.clients.close()
    untraced = seen.pop("cem")
    assert seen == {"ada": "b" * 32, "bob": TRACE}
    found = spans.named("send state")
    assert {ids(each)[0] for each in found} == {*seen.values(), untraced}
    assert {each.attributes["error.type"] for each in found} == {"refused"}
    assert {each.attributes["enroll.destination"] for each in found} == {"lms"}


def test_the_feed_is_published_in_the_traces_of_its_changes(world, spans, redis_url):
    world.course()
    world.take_in(traced("ada"), traced("bob", OTHER), traced("cem"))
    world.work()
    assert publish_all(stream_relay(world.sessions, redis_url)) == 3
    found = spans.named("publish events")
    assert sorted(map(ids, found)) == [(TRACE, SPAN), (TRACE, SPAN), ("b" * 32, "c" * 16)]


def test_a_message_of_another_system_and_its_reply_are_in_the_trace_of_its_sender(world, spans):
    world.course()
    with fakeredis.FakeRedis() as redis:
        inbound = Inbound(world, redis)
        inbound.append(one(), reply_to=REPLIES, traceparent=TRACEPARENT)
        inbound.append(one("bob"), one("cem"), reply_to=REPLIES, traceparent="nonsense " * 99)
        inbound.consume()
        world.work()
        inbound.send_replies()
    first, second = spans.named("receive message")
    assert ids(first) == (TRACE, SPAN)
    assert ids(second)[1] == ""
    assert set(stored(world)) == {traceparent_of(first), traceparent_of(second)}
    traces = {ids(first)[0], ids(second)[0]}
    for name in ("process batch", "send reply"):
        assert {ids(each)[0] for each in spans.named(name)} == traces


def test_an_outage_is_seen_in_the_trace(world, spans):
    world.course()
    world.take_in(traced("ada"))
    world.work()
    relay = stream_relay(world.sessions, "redis://127.0.0.1:1/0")
    assert relay.publish_next() == 0
    failed = spans.the("publish events")
    assert failed.attributes["error.type"] == RedisConnectionError.__name__
