"""Progress as server-sent events: each move is told, and who goes away costs nothing."""

import gc
import time

import pytest

from api_gateway.auth.authentication import Authenticator
from api_gateway.http.problems import unavailable
from api_gateway.status import event_stream
from enrollment.domain.errors import DatabaseUnavailable
from enrollment.storage.credentials import api_keys
from tests.support.event_reader import EVENTS, Reader, events_in
from tests.support.gateway import AUDIT, PATIENCE, Gateway, fresh, utc_now

CSV = {"Content-Type": "text/csv"}


def without_token(status):
    """The status with the link to its events as it is for everybody."""
    path, _, _ = status["links"]["events"].partition("?")
    return {**status, "links": {**status["links"], "events": path}}


def hand_in(gateway, rows=1, who=None):
    course_id = gateway.course(AUDIT)
    text = "user,course_id\n" + "".join(f"{fresh('u')},{course_id}\n" for _ in range(rows))
    answer = gateway.post("submissions", who or gateway.admin, body=text, headers=CSV)
    assert answer.status_code == 202, answer.text
    return answer.json


@pytest.fixture(autouse=True)
def _eager(monkeypatch):
    """Nobody waits between two events."""
    monkeypatch.setattr(event_stream, "MIN_EVENT_INTERVAL_SECONDS", 0.0)


@pytest.fixture
def slow(database_url):
    """A gateway that cuts files into batches of two rows; Redis is away."""
    made = Gateway(database_url, batch_rows="2")
    yield made
    made.close()


# --- what is told -------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["accept", "link"])
def test_each_move_is_told_until_all_is_done(slow, way):
    taken = hand_in(slow, rows=5)
    path = taken["links"]["self" if way == "accept" else "events"]
    reader = Reader(slow, path, slow.admin)
    for batches in range(1, 5):
        reader.until(lambda so_far=batches: len(reader.events) == so_far)
        slow.work(1)
    reader.until_ended()
    assert [
        (it.name, it.shown["state"], it.shown["counts"]["pending"]) for it in reader.events
    ] == [
        ("progress", "queued", 5),
        ("progress", "running", 3),
        ("progress", "running", 1),
        ("done", "done", 0),
    ]
    assert len({it.id for it in reader.events}) == 4
    last = slow.get(taken["links"]["self"], slow.admin).json
    assert without_token(reader.events[-1].shown) == without_token(last)


def test_the_stream_is_kept_by_nobody_on_the_way(small):
    taken = hand_in(small)
    small.work()
    answer = small.get(taken["links"]["events"], small.admin)
    assert answer.headers["content-type"] == "text/event-stream"
    assert answer.headers["cache-control"] == "private, no-store"
    assert answer.headers["x-accel-buffering"] == "no"
    assert [it.name for it in events_in(answer.text)] == ["done"]
    head = small.call("HEAD", taken["links"]["events"], small.admin)
    assert head.headers["content-type"] == "text/event-stream"
    assert "content-length" not in head.headers


@pytest.mark.parametrize(
    "accept", ["*/*", "application/json", "application/json, text/event-stream"]
)
def test_who_does_not_ask_for_events_gets_the_status(small, accept):
    place = hand_in(small)["links"]["self"]
    answer = small.get(place, small.admin, headers={"Accept": accept})
    assert (answer.headers["content-type"], answer.headers["vary"]) == (
        "application/json",
        "Accept, Authorization, X-Edx-Api-Key",
    )
    assert small.call("HEAD", place, small.admin, headers=EVENTS).headers["etag"]


def test_a_single_is_told_with_its_outcome(small):
    body = {"user": fresh("ann"), "course_id": small.course(AUDIT)}
    links = small.post("enrollment", small.server, json=body).json["links"]
    reader = Reader(small, links["events"], small.server)
    reader.until(lambda: reader.events)
    small.work()
    reader.until_ended()
    assert [it.name for it in reader.events] == ["progress", "done"]
    assert reader.events[-1].shown["outcome"]["outcome"] == "enrolled"


def test_cancelling_is_told_and_ends_the_stream(slow):
    taken = hand_in(slow, rows=4)
    reader = Reader(slow, taken["links"]["events"], slow.admin)
    slow.work(1)
    slow.post(taken["links"]["cancel"], slow.admin)
    slow.work()
    reader.until_ended()
    assert (reader.events[-1].name, reader.events[-1].shown["state"]) == ("done", "cancelled")


def test_somebody_else_s_events_are_404(small):
    links = hand_in(small, who=small.server)["links"]
    for path in (links["events"], links["self"]):
        assert small.get(path, small.learner("ann"), headers=EVENTS).status_code == 404
        assert small.get(path, small.learner("ann"), headers=EVENTS).json["code"] == "not_found"


# --- coming back --------------------------------------------------------------------------


def test_who_comes_back_is_told_what_has_happened_since_and_nothing_twice(slow):
    taken = hand_in(slow, rows=4)
    first = Reader(slow, taken["links"]["events"], slow.admin)
    first.until(lambda: len(first.events) == 1)
    first.go_away()
    first.until_ended()
    heard = {"Last-Event-ID": first.events[-1].id}
    second = Reader(slow, taken["links"]["events"], slow.admin, **heard)
    second.until(lambda: ": ping" in second.text)
    assert second.events == []
    slow.work(1)
    second.until(lambda: len(second.events) == 1)
    second.go_away()
    second.until_ended()
    slow.work()
    third = Reader(slow, taken["links"]["events"], slow.admin, **heard)
    third.until_ended()
    assert [it.shown["state"] for it in third.events] == ["done"]


def test_who_heard_the_end_is_told_not_to_come_back(small):
    taken = hand_in(small)
    small.work()
    (end,) = events_in(small.get(taken["links"]["events"], small.admin).text)
    again = small.get(taken["links"]["events"], small.admin, headers={"Last-Event-ID": end.id})
    assert (again.status_code, again.content) == (204, b"")


@pytest.mark.parametrize("given", ["", "x", "running-999999", "\u00e4"])
def test_an_event_id_that_is_none_of_ours_means_nothing(small, given):
    taken = hand_in(small)
    small.work()
    headers = {"Last-Event-ID": given}
    answer = small.get(taken["links"]["events"], small.admin, headers=headers)
    assert [it.name for it in events_in(answer.text)] == ["done"]


# --- who is slow, silent or gone ----------------------------------------------------------


def test_who_reads_nothing_is_told_the_latest_once_and_keeps_nothing_waiting(slow):
    taken = hand_in(slow, rows=12)
    reader = Reader(slow, taken["links"]["events"], slow.admin)
    reader.until(lambda: len(reader.events) == 1)
    reader.stop_reading()
    slow.work()
    reader.read_on()
    reader.until_ended()
    assert reader.events[-1].name == "done"
    assert len(reader.events) <= 3


def test_who_goes_away_frees_everything_at_once(slow):
    taken = hand_in(slow, rows=2)
    readers = [Reader(slow, taken["links"]["events"], slow.admin) for _ in range(3)]
    for reader in readers:
        reader.until(lambda it=reader: it.events)
    streams = slow.parts.event_streams.quota.held
    assert sum(streams.values()) == 3
    for reader in readers:
        reader.go_away()
    for reader in readers:
        reader.until_ended()
    gc.collect()
    readers[0].until(lambda: not streams)
    assert not slow.parts.waiters._events


def test_many_who_wait_cost_one_question_for_all_of_them(slow):
    taken = hand_in(slow, rows=2)
    readers = [Reader(slow, taken["links"]["events"], slow.admin) for _ in range(200)]
    for reader in readers:
        reader.until(lambda it=reader: it.events)
    assert len(slow.parts.waiters._events) == 1
    slow.work()
    for reader in readers:
        reader.until_ended()
        assert reader.events[-1].name == "done"


def test_a_move_is_looked_at_once_for_all_who_follow(slow, monkeypatch):
    taken = hand_in(slow, rows=6)
    readers = [Reader(slow, taken["links"]["events"], slow.admin) for _ in range(200)]
    for reader in readers:
        reader.until(lambda it=reader: it.events)
    read, looks = slow.parts.database.read, []

    async def counted(query, *args, **kwargs):
        looks.extend([query] if query == slow.parts.status_reader._query else [])
        return await read(query, *args, **kwargs)

    monkeypatch.setattr(slow.parts.database, "read", counted)
    for moves in (1, 2):
        slow.work(1)
        for reader in readers:
            reader.until(lambda it=reader, n=moves: len(it.events) > n)
        # Who is woken while the batch is committed looks before and after.
        assert len(looks) <= 3 * moves
    slow.work()
    for reader in readers:
        reader.until_ended()
        assert [it.shown["counts"]["pending"] for it in reader.events] == [6, 4, 2, 0]


def test_one_who_goes_away_disturbs_nobody_who_stays(slow, monkeypatch):
    taken = hand_in(slow, rows=2)
    stays, goes = (Reader(slow, taken["links"]["events"], slow.admin) for _ in range(2))
    for reader in (stays, goes):
        reader.until(lambda it=reader: it.events)
    goes.go_away()
    goes.until_ended()
    assert ": ping" not in stays.text
    slow.work()
    stays.until_ended()


# --- whose credentials end ----------------------------------------------------------------


@pytest.fixture
def watchful(slow, monkeypatch):
    """A gateway that looks at its callers again and again."""
    monkeypatch.setattr(event_stream, "CALLER_CHECK_SECONDS", 0.01)
    monkeypatch.setattr("api_gateway.auth.authentication.KEY_CACHE_SECONDS", 0.01)
    return slow


def revoke(gateway, name):
    with gateway.sessions.begin() as session:
        (number,) = (key.id for key in api_keys.all_keys(session) if key.name == name)
        api_keys.revoke(session, number, now=utc_now())


def test_a_stream_ends_with_its_key_and_without_a_done(watchful):
    name = fresh("key-")
    who = watchful.key("enroll", name=name)
    links = hand_in(watchful, rows=4, who=who)["links"]
    reader, other = (
        Reader(watchful, links["events"], who),
        Reader(watchful, links["events"], watchful.admin),
    )
    for each in (reader, other):
        each.until(lambda it=each: it.events)
    revoke(watchful, name)
    reader.until_ended()
    assert [it.name for it in reader.events] == ["progress"]
    assert watchful.get(links["events"], who, headers=EVENTS).status_code == 401
    watchful.work()
    other.until_ended()
    assert other.events[-1].name == "done"


def test_a_stream_ends_with_its_token(watchful):
    passed = [0.0]
    watchful.parts.event_streams.identify = Authenticator(
        watchful.parts.database,
        watchful.settings,
        lambda: time.monotonic() + passed[0],
        wall_clock=lambda: time.time() + passed[0],
    ).identify
    who = watchful.staff
    reader = Reader(watchful, hand_in(watchful, rows=4, who=who)["links"]["events"], who)
    reader.until(lambda: reader.events)
    passed[0] = 59 * 60
    watchful.work(1)
    reader.until(lambda: len(reader.events) == 2)
    passed[0] = 61 * 60
    reader.until_ended()
    assert [it.name for it in reader.events] == ["progress"] * 2


def test_after_its_key_ended_a_stream_tells_no_move(watchful, monkeypatch):
    name = fresh("key-")
    who = watchful.key("enroll", name=name)
    reader = Reader(watchful, hand_in(watchful, rows=4, who=who)["links"]["events"], who)
    reader.until(lambda: reader.events)
    monkeypatch.setattr(event_stream, "CALLER_CHECK_SECONDS", 10 * PATIENCE)
    revoke(watchful, name)
    watchful.work()
    reader.until_ended()
    assert [it.shown["state"] for it in reader.events] == ["queued"]


def test_who_is_who_they_were_goes_on_to_be_told(watchful):
    asked = []
    identify = watchful.parts.authenticator.identify

    async def counted(req):
        asked.append(req)
        return await identify(req)

    watchful.parts.event_streams.identify = counted
    reader = Reader(watchful, hand_in(watchful, rows=2)["links"]["events"], watchful.admin)
    reader.until(lambda: len(asked) > 5)
    assert not reader.task.done()
    watchful.work()
    reader.until_ended()
    assert [it.name for it in reader.events] == ["progress", "done"]


@pytest.mark.parametrize("trouble", [DatabaseUnavailable("away"), unavailable("away")], ids=repr)
def test_while_it_cannot_be_known_whose_they_are_a_stream_tells_nothing_and_lives(
    watchful, trouble
):
    identify, refused = watchful.parts.event_streams.identify, []

    async def away(req):
        refused.append(req)
        raise trouble

    reader = Reader(watchful, hand_in(watchful, rows=2)["links"]["events"], watchful.admin)
    reader.until(lambda: reader.events)
    watchful.parts.event_streams.identify = away
    watchful.work()
    reader.until(lambda: len(refused) > 2)
    assert [it.name for it in reader.events] == ["progress"]
    assert not reader.task.done()
    watchful.parts.event_streams.identify = identify
    reader.until_ended()
    assert reader.events[-1].name == "done"


@pytest.mark.parametrize(
    ("others", "status", "code"), [(0, 429, "quota_exceeded"), (8_000, 503, "unavailable")]
)
def test_beyond_what_may_be_open_there_is_no_stream(small, others, status, code):
    links = hand_in(small)["links"]
    caller = small.get(links["self"], small.admin).json["caller"]
    quota = small.parts.event_streams.quota
    name = "key:other" if others else f"key:{caller}"
    quota.held[name] = others or quota.per_caller
    answer = small.get(links["events"], small.admin)
    assert (answer.status_code, answer.json["code"]) == (status, code)
    assert answer.headers["retry-after"]
    del quota.held[name]


def test_where_nothing_happens_signs_of_life_are_sent(small, monkeypatch):
    monkeypatch.setattr(event_stream, "SSE_HEARTBEAT_SECONDS", 0.01)
    taken = hand_in(small)
    reader = Reader(small, taken["links"]["events"], small.admin)
    reader.until(lambda: reader.text.count(": ping\n\n") >= 3)
    assert len(reader.events) == 1
    reader.go_away()
    reader.until_ended()
    small.work()


def test_while_the_records_are_away_the_stream_lives_on(slow, monkeypatch):
    taken = hand_in(slow, rows=2)
    reader = Reader(slow, taken["links"]["events"], slow.admin)
    reader.until(lambda: len(reader.events) == 1)
    read, refused = slow.parts.database.read, []

    async def away(query, *args, **kwargs):
        refused.append(query)
        raise DatabaseUnavailable("away")

    monkeypatch.setattr(slow.parts.database, "read", away)
    slow.work()
    reader.until(lambda: len(refused) >= 2)
    monkeypatch.setattr(slow.parts.database, "read", read)
    reader.until_ended()
    assert reader.events[-1].name == "done"
