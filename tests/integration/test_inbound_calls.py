"""Calls of the task by other applications: what is stored, refused, and put on the queue again."""

import json

import fakeredis
import pytest
import redis
from celery import Celery
from celery.exceptions import Reject
from structlog.testing import capture_logs

from enrollment.domain.errors import Conflict, DatabaseUnavailable
from enrollment.runtime.broker import QueueName, TaskName
from enrollment.runtime.failpoints import arm
from tests.support.in_process_service import OTHER
from tests.support.inbound import REPLIES, Inbound, one
from worker.inbound.submit_task import REPEAT_PAUSE, SubmitCalls, register_submit


class Calls:
    """The task on an app that notes what is sent, and how long it sleeps."""

    def __init__(self, inbound):
        self.inbound = inbound
        self.sent, self.slept = [], []
        self.broker_is_away = False
        app = Celery("t", set_as_current=False)
        app.conf.update(task_always_eager=True, task_eager_propagates=True)
        app.send_task = self.send
        calls = SubmitCalls(intake=inbound.intake(), replies=inbound.replies, redis=inbound.redis)
        register_submit(app, calls, sleep=self.slept.append)
        self.task = app.tasks[TaskName.SUBMIT.value]

    def send(self, name, **sent):
        if self.broker_is_away:
            raise ConnectionError
        self.sent.append((name, sent["task_id"], sent["queue"], sent["kwargs"]))

    def call(self, *requests, task_id="t1", **arguments):
        content = requests[0] if len(requests) == 1 else list(requests)
        given = {"key": self.inbound.key, "requests": content, **arguments}
        return self.task.apply(kwargs=given, task_id=task_id).result


@pytest.fixture
def calls(world):
    world.course()
    world.course(OTHER)
    with fakeredis.FakeRedis() as client:
        yield Calls(Inbound(world, client))
    arm("")


def test_a_call_becomes_one_submission_whose_id_is_its_result(calls):
    (single,) = calls.call(one())
    (listed,) = calls.call(one("bob"), one("cleo"), task_id="t2", reply=REPLIES)
    world = calls.inbound.world
    world.work()
    calls.inbound.send_replies()

    assert {str(id_) for id_ in calls.inbound.world_submissions()} == {single, listed}
    (reply,) = calls.inbound.entries(REPLIES)
    assert (reply["id"], reply["submission_id"], reply["result"]) == ("t2", listed, "succeeded")
    assert [row["user"] for row in json.loads(reply["outcomes"])] == ["bob", "cleo"]
    world.check()


def test_a_message_that_is_delivered_again_and_a_repeated_key_are_one_submission(calls):
    first = calls.call(one())
    again = calls.call(one())
    keyed = calls.call(one("bob"), task_id="t2", idempotency_key="k")
    repeated = calls.call(one("bob"), task_id="t3", idempotency_key="k")
    other = calls.call(one("eve"), task_id="t4", idempotency_key="k", reply=REPLIES)

    assert first == again
    assert keyed == repeated
    assert other == []
    (reply,) = calls.inbound.entries(REPLIES)
    assert json.loads(reply["error"])["code"] == "idempotency_key_reused"
    assert calls.inbound.submissions() == 2


def test_an_id_counts_over_both_ways(calls):
    calls.inbound.append(one(), id="k")
    calls.inbound.consume()
    calls.call(one(), idempotency_key="k")

    assert calls.inbound.submissions() == 1


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ({"key": None}, "not_authenticated"),
        ({"key": 7}, "not_authenticated"),
        ({"requests": None}, "invalid_message"),
        ({"requests": []}, "invalid_message"),
        ({"requests": "x"}, "invalid_message"),
        ({"requests": {"user": "ada", "course_id": "x"}}, "invalid_row"),
        ({"requests": one(cohort="\ud800")}, "malformed_json"),
        ({"requests": one(cohort=1 << 70)}, "malformed_json"),
        ({"requests": one(cohort=float("nan"))}, "malformed_json"),
        ({"idempotency_key": 7}, "invalid_message"),
        ({"reply": 7}, "reply_not_allowed"),
        ({"reply_to": REPLIES}, "invalid_message"),
    ],
)
def test_a_call_that_cannot_be_accepted_is_logged(calls, arguments, code):
    with capture_logs() as logs:
        assert calls.call(one(), **arguments) == []

    assert [line["code"] for line in logs if line["event"] == "inbound.refused"] == [code]
    assert calls.inbound.submissions() == 0
    assert calls.sent == []


def test_positional_arguments_are_refused(calls):
    with capture_logs() as logs:
        assert calls.task.apply(args=["key"]).result == []
    assert "inbound.refused" in {line["event"] for line in logs}


@pytest.mark.parametrize(
    "failure", [DatabaseUnavailable("away"), redis.ConnectionError(), OSError()]
)
def test_while_a_server_is_away_the_call_is_put_on_the_queue_again(calls, monkeypatch, failure):
    def unavailable(*_, **__):
        raise failure

    with monkeypatch.context() as patched:
        if isinstance(failure, DatabaseUnavailable):
            patched.setattr("worker.inbound.intake.store_group", unavailable)
        else:  # a refusal that must be replied
            patched.setattr(calls.inbound.redis, "xadd", unavailable)
            calls.inbound.key = "unknown"
        assert calls.call(one(), reply=REPLIES) == []
        ((name, task_id, queue, arguments),) = calls.sent
        assert (name, task_id, queue) == ("enrollment.submit", "t1", QueueName.SUBMIT.value)
        assert arguments["requests"] == one()
        assert calls.slept == [REPEAT_PAUSE]

        calls.broker_is_away = True
        rejected = calls.call(one(), reply=REPLIES)
        assert isinstance(rejected, Reject)
        assert rejected.requeue


@pytest.mark.parametrize("failure", [Conflict("lock timeout"), RuntimeError(), KeyError("bug")])
def test_no_error_drops_a_call(calls, monkeypatch, failure):
    def fails(*_, **__):
        raise failure

    with monkeypatch.context() as patched:
        patched.setattr("worker.inbound.key_holders.api_keys.record_use", fails)
        assert calls.call(one()) == []
    ((_, task_id, _, arguments),) = calls.sent

    assert calls.task.apply(kwargs=arguments, task_id=task_id).result != []
    assert calls.inbound.submissions() == 1


def test_an_error_behind_the_commit_does_not_drop_a_call(calls):
    arm("inbound.stored=raise*1")
    rejected = calls.call(one())

    assert isinstance(rejected, Reject)
    assert rejected.requeue
    assert calls.call(one()) != []
    assert calls.inbound.submissions() == 1


def test_a_call_that_cannot_be_read_is_refused(calls, monkeypatch):
    def fails(*_, **__):
        raise RuntimeError

    monkeypatch.setattr("worker.inbound.submit_task.call_message", fails)
    assert calls.call(one(), reply=REPLIES) == []

    (reply,) = calls.inbound.entries(REPLIES)
    assert json.loads(reply["error"])["code"] == "internal_error"
    assert calls.sent == []


@pytest.mark.parametrize(("own_id", "shown"), [("\ud800", "?"), ("x" * 300, "x" * 200)])
def test_a_refusal_is_replied_whatever_the_id_is(calls, own_id, shown):
    assert calls.call(one(), idempotency_key=own_id, reply=REPLIES) == []

    (reply,) = calls.inbound.entries(REPLIES)
    assert reply["id"] == shown
    assert calls.sent == []
