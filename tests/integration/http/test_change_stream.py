"""The change feed over HTTP: filters, and the stream of it."""

import gc

import pytest

from api_gateway.feed import change_stream
from enrollment.storage.credentials import api_keys
from tests.support.event_reader import EVENTS, Reader
from tests.support.gateway import AUDIT, BASE, fresh, utc_now

CHANGES = f"{BASE}/changes"


def enroll_all(gateway, *usernames, course_id=None):
    """Enrolls learners by a file; returns the position before it."""
    course_id = course_id or gateway.course(AUDIT)
    since = end_of(gateway)
    rows = "".join(f"{username},{course_id}\n" for username in usernames)
    gateway.submit(f"user,course_id\n{rows}")
    return since


def end_of(gateway):
    position = 0
    while (page := gateway.get(f"changes?since={position}", gateway.admin).json)["changes"]:
        position = page["next"]
    return position


def listed(gateway, query):
    return gateway.get(f"changes?{query}", gateway.admin).json["changes"]


def test_the_stream_has_the_events_of_the_list(gateway):
    since = enroll_all(gateway, *(fresh("u") for _ in range(3)))
    reader = Reader(gateway, f"{CHANGES}?since={since}", gateway.key("read"))
    reader.until(lambda: len(reader.events) == 3)
    enroll_all(gateway, fresh("u"))
    reader.until(lambda: len(reader.events) == 4)
    reader.go_away()
    reader.until_ended()

    expected = listed(gateway, f"since={since}")
    assert [it.shown for it in reader.events] == expected
    assert [(it.name, it.id) for it in reader.events] == [
        (it["type"], str(it["data"]["position"])) for it in expected
    ]
    headers = dict(reader.sent[0]["headers"])
    assert headers[b"content-type"] == b"text/event-stream"
    assert headers[b"x-accel-buffering"] == b"no"
    assert headers[b"cache-control"] == b"private, no-store"


def test_a_client_that_comes_back_goes_on_after_what_it_has_heard(gateway):
    since = enroll_all(gateway, *(fresh("u") for _ in range(3)))
    heard = {"Last-Event-ID": str(since + 2)}
    reader = Reader(gateway, f"{CHANGES}?since={since}", gateway.admin, **heard)
    reader.until(lambda: reader.events)
    reader.go_away()
    reader.until_ended()
    assert [it.id for it in reader.events] == [str(since + 3)]
    assert reader.text.startswith(f"id: {since + 2}\nretry: ")


def test_filters_hold_back_the_others_in_lists_and_streams(gateway):
    course_id, other = gateway.course(AUDIT), gateway.course(AUDIT)
    ann, bob = fresh("ann"), fresh("bob")
    since = enroll_all(gateway, ann, bob, course_id=course_id)
    enroll_all(gateway, ann, course_id=other)
    for query, expected in [
        (f"course_id={course_id}", [1, 2]),
        (f"course_id={course_id.replace('+', '%2B')},{other}", [1, 2, 3]),
        (f"username={ann}", [1, 3]),
        (f"username={ann}&course_id={other}", [3]),
        ("type=enrollment.created", [1, 2, 3]),
        ("type=enrollment.deactivated,enrollment.updated", []),
    ]:
        page = gateway.get(f"changes?since={since}&{query}", gateway.admin).json
        found = [it["data"]["position"] - since for it in page["changes"]]
        assert (found, page["next"]) == (expected, since + 3), query
        reader = Reader(gateway, f"{CHANGES}?since={since}&{query}", gateway.admin)
        reader.until(lambda it=reader, all_=expected: len(it.events) == len(all_))
        reader.go_away()
        reader.until_ended()
        assert [int(it.id) - since for it in reader.events] == expected, query


@pytest.mark.parametrize(
    "query",
    [
        "type=created",
        "type=",
        "course_id=nothing",
        "course_id=,",
        "username=a%00b",
        f"username={','.join(map(str, range(101)))}",
        "since=-1",
        "since=x",
        "kind=created",
    ],
)
@pytest.mark.parametrize("accept", ["application/json", "text/event-stream"])
def test_filters_of_no_event_are_refused(small, query, accept):
    answer = small.get(f"changes?{query}", small.admin, headers={"Accept": accept})
    assert (answer.status_code, answer.json["code"]) == (400, "invalid_parameter")
    assert answer.json["errors"]


def test_an_event_id_that_is_no_position_is_refused(small):
    headers = {**EVENTS, "Last-Event-ID": "running-3"}
    answer = small.get("changes", small.admin, headers=headers)
    assert (answer.status_code, answer.json["code"]) == (400, "invalid_parameter")


@pytest.mark.parametrize("accept", ["", "*/*", "application/json, text/event-stream"])
def test_who_does_not_ask_for_events_gets_the_list(small, accept):
    answer = small.get("changes", small.admin, headers={"Accept": accept} if accept else {})
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["vary"].startswith("Accept, ")
    assert small.call("HEAD", "changes", small.admin, headers=EVENTS).status_code == 200


@pytest.mark.parametrize("who", ["nobody", "learner", "enroll"])
def test_who_may_not_read_the_feed_gets_no_stream(small, who):
    callers = {"nobody": {}, "learner": small.learner("ann"), "enroll": small.server}
    answer = small.get("changes", callers[who], headers=EVENTS)
    assert answer.status_code == (401 if who == "nobody" else 403)


def test_a_slow_client_holds_a_page_and_no_more(small, monkeypatch):
    monkeypatch.setattr("api_gateway.feed.feed_reader.PAGE_EVENTS", 2)
    since = enroll_all(small, *(fresh("u") for _ in range(9)))
    reader = Reader(small, f"{CHANGES}?since={since}", small.admin)
    reader.until(lambda: len(reader.events) == 9)
    reader.stop_reading()
    pages = small.parts.change_streams.reader._pages
    pages.clear()
    enroll_all(small, *(fresh("u") for _ in range(9)))
    reader.until(lambda: pages)
    assert list(pages) == [since + 9]
    reader.read_on()
    reader.until(lambda: len(reader.events) == 18)
    reader.go_away()
    reader.until_ended()
    assert [int(it.id) - since for it in reader.events] == list(range(1, 19))


def test_a_stream_ends_with_its_key(small, monkeypatch):
    monkeypatch.setattr(change_stream, "CALLER_CHECK_SECONDS", 0.01)
    monkeypatch.setattr("api_gateway.auth.authentication.KEY_CACHE_SECONDS", 0.01)
    name = fresh("key-")
    since = enroll_all(small, fresh("u"))
    reader = Reader(small, f"{CHANGES}?since={since}", small.key("read", name=name))
    reader.until(lambda: reader.events)
    with small.sessions.begin() as session:
        (number,) = (key.id for key in api_keys.all_keys(session) if key.name == name)
        api_keys.revoke(session, number, now=utc_now())
    reader.until_ended()
    assert len(reader.events) == 1


def test_places_are_shared_with_other_streams_and_freed(small):
    quota = small.parts.event_streams.quota
    reader = Reader(small, CHANGES, small.key("read", name="placed"))
    reader.until(lambda: reader.sent)
    assert quota.held["key:placed"] == 1
    quota.held["key:placed"] = quota.per_caller
    answer = small.get("changes", small.key("read", name="placed"), headers=EVENTS)
    assert (answer.status_code, answer.json["code"]) == (429, "quota_exceeded")
    quota.held["key:placed"] = 1
    reader.go_away()
    reader.until_ended()
    gc.collect()
    reader.until(lambda: "key:placed" not in quota.held)
    assert not small.parts.change_streams.reader._waiting


def test_where_nothing_happens_the_position_is_a_sign_of_life(small, monkeypatch):
    monkeypatch.setattr(change_stream, "SSE_HEARTBEAT_SECONDS", 0.05)
    since = enroll_all(small, fresh("u"), fresh("u"))
    reader = Reader(small, f"{CHANGES}?since={since}&username=nobody", small.admin)
    reader.until(lambda: f"id: {since + 2}\nretry: 2000\n\n" in reader.text)
    reader.go_away()
    reader.until_ended()
    assert reader.events == []


def test_all_streams_end_when_the_process_shuts_down(start):
    gateway = start()
    reader = Reader(gateway, CHANGES, gateway.admin)
    reader.until(lambda: reader.sent)
    gateway._loop.call_soon_threadsafe(gateway.parts.draining.begin)
    reader.until_ended()
    assert reader.text.endswith(": the server is shutting down; reconnect\n\n")
