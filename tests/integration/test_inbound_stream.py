"""Requests from a Redis stream: each entry becomes one submission, and gets a reply."""

import json
from datetime import UTC, datetime, timedelta

import fakeredis
import pytest
import redis
from structlog.testing import capture_logs

from enrollment.domain.errors import DatabaseUnavailable
from enrollment.runtime.failpoints import FailPointReached, arm
from enrollment.storage.replies import owed_replies
from enrollment.storage.tables import BatchRow, ReplyRow
from enrollment.storage.upkeep import retention
from tests.support.in_process_service import COURSE, OTHER
from tests.support.inbound import FIXED_KEY, REPLIES, STREAM, Inbound, one
from worker.inbound import intake, stream_consumer
from worker.inbound.messages import MAX_MESSAGE_REQUESTS, MAX_REQUEST_BYTES


@pytest.fixture(params=["fakeredis", "redis"])
def client(request):
    if request.param == "fakeredis":
        made = fakeredis.FakeRedis()
    else:
        made = redis.Redis.from_url(request.getfixturevalue("redis_url"))
    with made:
        yield made


@pytest.fixture
def inbound(world, client):
    world.course()
    world.course(OTHER)
    yield Inbound(world, client)
    arm("")


def test_entries_become_submissions_of_their_key_and_get_replies(inbound):
    inbound.append(one("ada"), id="m-1", reply_to=REPLIES)
    inbound.append(one("bob", "course-v1:no+such+course"), id="m-2", reply_to=REPLIES)
    inbound.append(one("ada", OTHER), one("cleo"), one("dan", mode=""), id="m-3", reply_to=REPLIES)
    inbound.append(one("eve"))
    inbound.consume()

    assert inbound.left() == (0, 0)
    assert inbound.submissions() == 4
    callers = {inbound.world.submission(id_).caller for id_ in inbound.world_submissions()}
    assert callers == {"key:sis"}
    inbound.send_replies()
    assert inbound.entries(REPLIES) == []  # nothing is processed yet

    inbound.world.work()
    inbound.send_replies()
    replies = {reply["id"]: reply for reply in inbound.entries(REPLIES)}
    assert sorted(replies) == ["m-1", "m-2", "m-3"]
    assert [replies[name]["result"] for name in sorted(replies)] == [
        "succeeded",
        "failed",
        "succeeded",
    ]
    (refused,) = json.loads(replies["m-2"]["outcomes"])
    assert (refused["outcome"], refused["reason"]) == ("refused", "course_not_found")
    listed = json.loads(replies["m-3"]["outcomes"])
    assert [row["user"] for row in listed] == ["ada", "cleo", "dan"]
    assert {row["outcome"] for row in listed} == {"enrolled"}
    inbound.world.check()


def test_many_entries_are_one_transaction_and_one_batch(inbound):
    for number in range(150):
        inbound.append(one(f"u{number}"))
    inbound.consume()

    with inbound.world.sessions.read() as session:
        assert session.query(BatchRow.requests).all() == [(150,)]


def test_an_id_counts_once_also_for_another_consumer(inbound):
    for _ in range(2):
        inbound.append(one(), id="twice", reply_to=REPLIES)
    first = inbound.consume()
    inbound.append({"course_id": COURSE, "user": "ada"}, id="twice")  # in another order
    inbound.append(one("bob"), id="twice")
    inbound.consume(first)
    inbound.world.work()
    inbound.send_replies()

    assert inbound.submissions() == 1
    assert [dead["code"] for dead in inbound.dead()] == ["idempotency_key_reused"]
    assert len(inbound.entries(REPLIES)) == 1


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"key": None}, "not_authenticated"),
        ({"key": "enr_" + "x" * 43}, "not_authenticated"),
        ({"key": "x" * 600}, "not_authenticated"),
        ({"request": None}, "invalid_message"),
        ({"requests": "[]"}, "invalid_message"),
        ({"request": None, "requests": "[]"}, "invalid_message"),
        ({"request": "[]"}, "invalid_message"),
        ({"request": "{", "id": "7"}, "malformed_json"),
        ({"request": '{"user": "a", "user": "b"}'}, "malformed_json"),
        ({"request": '{"user": "ada"}'}, "invalid_row"),
        ({"request": json.dumps({"course_id": COURSE})}, "learner_not_found"),
        ({"request": json.dumps(one(requested_at="2020-01-01T00:00:00Z"))}, "not_permitted"),
        ({"request": json.dumps(one(cohort="x" * MAX_REQUEST_BYTES))}, "too_large"),
        ({"id": ""}, "invalid_message"),
        ({"id": "x" * 201}, "invalid_message"),
        ({"id": "a\x00"}, "invalid_message"),
        ({"reply-to": REPLIES}, "invalid_message"),
        ({"reply_to": "elsewhere"}, "reply_not_allowed"),
        ({"reply_to": STREAM}, "reply_not_allowed"),
        ({"request": b"\xff"}, "invalid_message"),
    ],
)
def test_what_cannot_be_accepted_is_a_dead_letter_with_its_reason(inbound, fields, code):
    entry = inbound.append(one(), **{"reply_to": REPLIES, **fields})
    after = inbound.append(one("bob"))
    inbound.consume()

    (dead,) = inbound.dead()
    assert (dead["entry"], dead["code"]) == (entry, code)
    assert dead["reason"]
    assert "key" not in dead
    assert inbound.left() == (0, 0)
    assert inbound.submissions() == 1, after
    told = fields.get("reply_to", REPLIES) == REPLIES
    replies = inbound.entries(REPLIES)
    assert len(replies) == told
    if told:
        assert json.loads(replies[0]["error"])["code"] == code
        if not fields.get("id"):
            assert replies[0]["id"] in {entry, ""}


def test_lists_are_bounded(inbound):
    too_many = json.dumps([one()] * (MAX_MESSAGE_REQUESTS + 1))
    inbound.append(requests=too_many)
    inbound.append(requests=json.dumps([one(), one(cohort="x" * MAX_REQUEST_BYTES)]))
    inbound.append(requests=json.dumps([one(f"u{n}") for n in range(MAX_MESSAGE_REQUESTS)]))
    inbound.consume()

    assert [dead["code"] for dead in inbound.dead()] == ["too_large"] * 2
    assert inbound.submissions() == 1


def test_keys_have_the_permissions_that_they_have_over_http(inbound):
    now = datetime.now(UTC)
    keys = {
        "read": inbound.new_key("read", name="reader"),
        "expired": inbound.new_key("enroll", name="old", expires_at=now - timedelta(hours=1)),
    }
    stated = (now - timedelta(days=1)).isoformat()
    for name, key in keys.items():
        inbound.append(one(name), key=key)
    inbound.append(one("ada", requested_at=stated), key=inbound.new_key("admin", name="boss"))
    inbound.append(one("bob"), key=FIXED_KEY)
    inbound.consume()

    assert [dead["code"] for dead in inbound.dead()] == ["not_permitted", "token_expired"]
    owners = {inbound.world.submission(id_).caller for id_ in inbound.world_submissions()}
    assert owners == {"key:boss", "key:edx"}


def test_a_caller_over_its_quota_waits_and_others_do_not(inbound):
    inbound.max_pending_rows = 3
    inbound.append(one("a"), one("b"), one("c"))
    consumer = inbound.consume()
    inbound.clock += 2
    inbound.append(one("d"), one("e"))
    inbound.append(one("f"), one("g"), key=inbound.new_key("enroll", name="other"))
    inbound.consume(consumer)
    assert inbound.submissions() == 2
    assert inbound.left() == (1, 1)

    inbound.world.work()
    inbound.clock += 60
    consumer = inbound.consumer()
    consumer._after = None  # as if an hour had passed: it is claimed
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(stream_consumer, "ABANDONED_MS", 0)
        inbound.consume(consumer)
    assert inbound.submissions() == 3
    assert inbound.left() == (0, 0)


def test_entries_of_a_consumer_that_died_after_the_commit_are_claimed_and_stored_once(
    inbound, monkeypatch
):
    for number in range(5):
        inbound.append(one(f"u{number}"), reply_to=REPLIES)
    first = inbound.consumer("first")
    first.consume(1)
    arm("inbound.stored=raise*1")
    with pytest.raises(FailPointReached):
        first.consume(1)
    assert inbound.submissions() == 5
    assert inbound.left() == (5, 5)

    monkeypatch.setattr(stream_consumer, "ABANDONED_MS", 0)
    inbound.consume(inbound.consumer("second"))
    inbound.world.work()
    inbound.send_replies()

    assert inbound.submissions() == 5
    assert inbound.left() == (0, 0)
    assert len(inbound.entries(REPLIES)) == 5


def test_a_consumer_reads_its_own_entries_again_after_an_outage(inbound, monkeypatch):
    inbound.append(one())
    consumer = inbound.consumer()
    consumer.consume(1)

    def unavailable(*_, **__):
        message = "away"
        raise DatabaseUnavailable(message)

    with monkeypatch.context() as patched:
        patched.setattr("worker.inbound.intake.store_group", unavailable)
        for _ in range(2):
            with pytest.raises(DatabaseUnavailable):
                consumer.consume(1)
    assert inbound.left() == (1, 1)

    assert consumer.consume(1) == 1
    assert inbound.submissions() == 1
    assert inbound.left() == (0, 0)


@pytest.mark.parametrize("failures", [1, 2])
@pytest.mark.parametrize("others", [0, 2])
def test_a_message_that_failed_after_its_commit_is_not_refused_as_well(
    inbound, monkeypatch, failures, others
):
    store = intake.store_group
    left = [RuntimeError()] * failures

    def fails_once_committed(sessions, group, *given, **named):
        stored = store(sessions, group, *given, **named)
        if left and any(member.request.username == "ada" for member in group):
            raise left.pop()
        return stored

    monkeypatch.setattr(intake, "store_group", fails_once_committed)
    for user in ("ada", "bob", "cleo")[: 1 + others]:
        inbound.append(one(user), reply_to=REPLIES)
    inbound.consume()
    inbound.world.work()
    inbound.send_replies()

    assert inbound.dead() == []
    assert inbound.submissions() == 1 + others
    assert len(inbound.entries(REPLIES)) == 1 + others


def test_a_message_that_is_stored_and_then_always_fails_is_not_refused(inbound, monkeypatch):
    inbound.append(one(), id="m", reply_to=REPLIES)
    inbound.consume()

    def fails(*_, **__):
        raise RuntimeError

    inbound.append(one(), id="m", reply_to=REPLIES)
    inbound.append(one("bob"), id="m", reply_to=REPLIES)
    with monkeypatch.context() as patched:
        patched.setattr(intake, "store_group", fails)
        inbound.consume()
    inbound.world.work()
    inbound.send_replies()

    assert [dead["code"] for dead in inbound.dead()] == ["idempotency_key_reused"]
    assert [reply["state"] for reply in inbound.entries(REPLIES)] == ["refused", "done"]
    assert inbound.submissions() == 1


@pytest.mark.parametrize("place", [(intake, "load_single"), (stream_consumer, "entry_message")])
def test_a_message_that_cannot_be_checked_costs_itself_alone(inbound, monkeypatch, place):
    for user in ("ada", "bad", "cleo"):
        inbound.append(one(user), reply_to=REPLIES)
    check = getattr(*place)

    def fails_on_bad(content, *rest):
        if "bad" in str(content):
            raise RuntimeError
        return check(content, *rest)

    monkeypatch.setattr(*place, fails_on_bad)
    with capture_logs() as logs:
        inbound.consume()

    assert inbound.submissions() == 2
    assert [dead["code"] for dead in inbound.dead()] == ["internal_error"]
    assert [reply["state"] for reply in inbound.entries(REPLIES)] == ["refused"]
    assert "inbound.not_stored" in {line["event"] for line in logs}


def test_one_message_that_fails_costs_itself_alone(inbound, monkeypatch):
    for user in ("ada", "bad", "cleo"):
        inbound.append(one(user))
    store = intake.store_group

    def fails_on_bad(sessions, group, *rest, **named):
        if any(member.request.username == "bad" for member in group):
            raise RuntimeError
        return store(sessions, group, *rest, **named)

    monkeypatch.setattr(intake, "store_group", fails_on_bad)
    with capture_logs() as logs:
        inbound.consume()

    assert inbound.submissions() == 2
    assert [dead["code"] for dead in inbound.dead()] == ["internal_error"]
    assert "inbound.not_stored" in {line["event"] for line in logs}


def test_a_stream_need_not_exist_yet(inbound):
    consumer = inbound.consumer()
    assert consumer.consume(1) == consumer.consume(1) == 0
    inbound.append(one())
    assert consumer.consume(1) == 1


def test_a_flushed_redis_gets_its_group_again(inbound):
    consumer = inbound.consume()
    inbound.redis.flushdb()
    inbound.append(one())
    inbound.consume(consumer)

    assert inbound.submissions() == 1
    inbound.append(one("bob"))
    consumer.close()
    assert inbound.redis.xinfo_consumers(STREAM, "enroll") == []


def test_a_reply_that_was_sent_and_still_counts_as_owed_is_sent_again(inbound):
    inbound.append(one(), id="m", reply_to=REPLIES)
    inbound.consume()
    inbound.world.work()
    arm("reply.sent=raise*1")
    with pytest.raises(FailPointReached):
        inbound.send_replies()
    inbound.send_replies()
    inbound.send_replies()

    assert [reply["id"] for reply in inbound.entries(REPLIES)] == ["m", "m"]


def test_a_stream_of_another_type_does_not_hold_up_others(inbound):
    bad = f"{STREAM}:reply:bad"
    inbound.redis.set(bad, "x")
    inbound.append(one(), reply_to=bad)
    inbound.append(one("bob"), reply_to=REPLIES)
    inbound.consume()
    inbound.world.work()
    with capture_logs() as logs:
        inbound.send_replies()
        inbound.send_replies()

    assert len(inbound.entries(REPLIES)) == 1
    assert [each["event"] for each in logs] == ["reply.undeliverable"]


def test_replies_that_are_owed_do_not_outlive_their_submissions(inbound):
    inbound.append(one(), reply_to=REPLIES)
    inbound.append(one("bob"), one("cleo"), reply_to=REPLIES)
    inbound.consume()
    inbound.world.work()
    long_after = datetime.now(UTC) + timedelta(days=1)
    for delete in (
        retention.purge_singles,
        retention.hide_expired_files,
        retention.delete_hidden_files,
        retention.delete_hidden_files,
    ):
        with inbound.world.sessions.begin() as session:
            arguments = {} if delete is retention.delete_hidden_files else {"before": long_after}
            delete(session, limit=100, **arguments)
    inbound.send_replies()

    assert inbound.submissions() == 0
    with inbound.world.sessions.read() as session:
        assert session.query(ReplyRow.id).all() == []
    assert inbound.entries(REPLIES) == []


def test_a_second_sender_sends_nothing_meanwhile(inbound):
    inbound.append(one(), reply_to=REPLIES)
    inbound.consume()
    inbound.world.work()

    with owed_replies.sole_sender(inbound.world.sessions) as is_sole:
        assert is_sole
        inbound.send_replies()
    assert inbound.entries(REPLIES) == []
    inbound.send_replies()
    assert len(inbound.entries(REPLIES)) == 1


def test_no_key_gets_into_a_dead_letter_under_whatever_name(inbound):
    """Its sender mistook the name of the field, or put the key into the request."""
    secret = inbound.new_key("enroll", name="mistaken")
    request = json.dumps({"user": "ada", "key": secret, "course_details": {"course_id": COURSE}})
    entry = {"api_key": secret, "secret": "hunter2", "request": request, "id": secret}
    inbound.redis.xadd(STREAM, entry)
    inbound.consume()
    (dead,) = inbound.dead()
    assert "api_key" in dead["reason"]
    assert secret not in json.dumps(dead)
    assert "hunter2" not in json.dumps(dead)
    assert json.loads(dead["request"])["user"] == "ada"


def test_an_entry_that_was_deleted_while_it_was_pending_is_passed_over():
    """Redis 6.2 claims nothing in its place."""
    fields = {b"key": b"k"}
    found = stream_consumer._entries([(None, None), (b"1-1", fields), (b"1-2", None)])
    assert found == [(b"1-1", fields), (b"1-2", {})]


def test_a_stream_that_was_lost_with_its_group_is_read_again(inbound):
    """Redis was restarted without its data: what comes afterwards is taken in."""
    inbound.append(one("ada"))
    inbound.consume()
    inbound.redis.flushall()
    inbound.append(one("bob"))
    for _ in range(2):
        inbound.consume()
    assert inbound.submissions() == 2
    assert inbound.left() == (0, 0)
