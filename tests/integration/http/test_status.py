"""GET /submissions and /submissions/{id}: how far it is, waiting for it, cancelling it."""

from contextlib import ExitStack

import pytest

from tests.support.gateway import AUDIT, VERIFIED, Gateway, fresh
from tests.support.statements import recorded_statements

CSV = {"Content-Type": "text/csv"}


def file_of(course_id, rows):
    return "user,course_id\n" + "".join(f"{fresh('u')},{course_id}\n" for _ in range(rows))


def hand_in(gateway, rows=1, who=None, **more):
    text = file_of(gateway.course(AUDIT), rows)
    answer = gateway.post("submissions", who or gateway.admin, body=text, headers=CSV, **more)
    assert answer.status_code == 202, answer.text
    return answer.headers["location"]


@pytest.fixture
def slow(database_url):
    """A gateway that cuts files into batches of two rows."""
    made = Gateway(database_url, batch_rows="2")
    yield made
    made.close()


def test_a_submission_moves_from_queued_over_running_to_done(slow):
    place = hand_in(slow, rows=5)
    seen = []
    for worked in (0, 1, 1, 1):
        slow.work(worked)
        answer = slow.get(place, slow.admin)
        shown = answer.json
        seen.append((shown["state"], shown["counts"]["pending"], shown["progress"]))
        assert shown["counts"]["enrolled"] + shown["counts"]["pending"] == 5
        assert ("retry-after" in answer.headers) == (shown["state"] != "done")
        assert (shown["result"] is None) == (shown["state"] != "done")
    assert seen == [("queued", 5, 0.0), ("running", 3, 0.4), ("running", 1, 0.8), ("done", 0, 1.0)]


def test_the_tag_changes_with_every_batch_and_stands_still_when_done(slow):
    place = hand_in(slow, rows=4)
    tags = []
    for worked in (0, 1, 1, 0):
        slow.work(worked)
        tags.append(slow.get(place, slow.admin).headers["etag"])
    assert len(set(tags[:3])) == 3
    assert tags[2] == tags[3]
    for given in (tags[3], f'"other", {tags[3]}', "*", tags[3].removeprefix("W/")):
        same = slow.get(place, slow.admin, headers={"If-None-Match": given})
        assert (same.status_code, same.content) == (304, b"")
        assert same.headers["etag"] == tags[3]
        assert "content-type" not in same.headers
    assert slow.get(place, slow.admin, headers={"If-None-Match": tags[0]}).status_code == 200


def test_the_tag_of_a_single_follows_its_enrollment(gateway):
    course_id, user = gateway.course(AUDIT, VERIFIED), fresh("ann")
    body = {"user": user, "course_id": course_id}
    place = gateway.post("enrollment", gateway.server, json=body).headers["location"]
    waiting = gateway.get(place, gateway.server)
    still = {"If-None-Match": waiting.headers["etag"]}
    same = gateway.get(place, gateway.server, headers=still)
    assert same.status_code == 304
    assert same.headers["retry-after"] == waiting.headers["retry-after"]
    gateway.work()
    done = gateway.get(place, gateway.server)
    known = {"If-None-Match": done.headers["etag"]}
    same = gateway.get(place, gateway.server, headers=known)
    assert same.status_code == 304
    assert same.headers["cache-control"] == done.headers["cache-control"] == "private, no-store"
    assert "retry-after" not in same.headers
    gateway.enroll(gateway.server, course_id, user, mode="verified")
    changed = gateway.get(place, gateway.server, headers=known)
    assert (changed.status_code, changed.json["enrollment"]["mode"]) == (200, "verified")
    assert changed.headers["etag"] != done.headers["etag"]


def test_a_long_poll_ends_when_all_is_done(slow):
    place = hand_in(slow, rows=5)
    with slow.asking("GET", place, slow.admin, headers={"Prefer": "wait=20"}) as future:
        slow.work()
    answer = future.result()
    assert (answer.status_code, answer.json["state"]) == (200, "done")
    assert answer.headers["preference-applied"] == "wait=20"


def test_a_long_poll_with_a_tag_ends_when_it_moved(slow):
    place = hand_in(slow, rows=5)
    tag = slow.get(place, slow.admin).headers["etag"]
    headers = {"Prefer": "wait=20", "If-None-Match": tag}
    with slow.asking("GET", place, slow.admin, headers=headers) as future:
        slow.work(1)
    answer = future.result()
    assert (answer.status_code, answer.json["state"]) == (200, "running")


def test_many_long_polls_cost_one_read_at_the_end_and_none_before(slow, monkeypatch):
    place = hand_in(slow, rows=8)
    reader, waiters = slow.parts.status_reader, slow.parts.waiters
    reads, begun = [], slow.parts.database.read

    async def counted(query, *args, **kwargs):
        reads.extend([query] if query == reader._query else [])
        return await begun(query, *args, **kwargs)

    with ExitStack() as polls:
        poll = {"Prefer": "wait=20"}
        waiting = [
            polls.enter_context(slow.asking("GET", place, slow.admin, headers=poll))
            for _ in range(100)
        ]
        slow.until(lambda: sum(map(len, waiters._events.values())) == len(waiting))
        monkeypatch.setattr(slow.parts.database, "read", counted)
        for _ in range(3):
            slow.work(1)
        assert (reads, any(it.done() for it in waiting)) == ([], False)
        slow.work()
    assert {it.result().json["state"] for it in waiting} == {"done"}
    assert len(reads) <= 2  # who is woken while the first read is under way shares the next


def status_reads(statements):
    """The reads of whole submissions, by the gateway and by the worker, among the statements."""
    return [text for text in statements if "FROM submission" in text and "options" in text]


def test_five_hundred_long_polls_of_one_file_share_one_read_per_move(slow):
    place = hand_in(slow, rows=8)
    waiters = slow.parts.waiters
    tag = slow.get(place, slow.admin).headers["etag"]
    for_end = {"Prefer": "wait=25"}
    for_move = {**for_end, "If-None-Match": tag}
    with ExitStack() as polls:
        waiting = [
            polls.enter_context(slow.asking("GET", place, slow.admin, headers=headers))
            for headers in [for_end] * 250 + [for_move] * 250
        ]
        slow.until(lambda: sum(map(len, waiters._events.values())) == len(waiting))
        with recorded_statements(slow.sessions.engine) as first:
            slow.work(1)
            slow.until(lambda: all(it.done() for it in waiting[250:]))
        with recorded_statements(slow.sessions.engine) as rest:
            slow.work(1)
            slow.work(1)
            assert not any(it.done() for it in waiting[:250])
            slow.work()
            slow.until(lambda: all(it.done() for it in waiting))

    assert {it.result().json["state"] for it in waiting[250:]} == {"running"}
    assert {it.result().json["state"] for it in waiting[:250]} == {"done"}
    # each worker's transaction reads the submission as well
    assert len(status_reads(first)) <= 1 + 2
    assert len(status_reads(rest)) <= 3 + 2


def test_a_long_poll_in_vain_says_how_far_it_is(small):
    place = hand_in(small, rows=3)
    answer = small.get(place, small.admin, headers={"Prefer": "wait=1"})
    assert (answer.status_code, answer.json["state"]) == (200, "queued")
    tag = answer.headers["etag"]
    again = small.get(place, small.admin, headers={"Prefer": "wait=1", "If-None-Match": tag})
    assert again.status_code == 304


def test_a_single_can_be_waited_for_at_its_place_as_well(gateway):
    body = {"user": fresh("ann"), "course_id": gateway.course(AUDIT)}
    place = gateway.post("enrollment", gateway.server, json=body).headers["location"]
    with gateway.asking("GET", place, gateway.server, headers={"Prefer": "wait=20"}) as future:
        gateway.work()
    assert (future.result().status_code, future.result().json["state"]) == (200, "done")


@pytest.mark.parametrize("part", ["", "/outcomes", "/cancel"])
def test_somebody_else_s_submission_is_as_if_it_were_not_there(gateway, part):
    place = hand_in(gateway, who=gateway.server) + part
    nowhere = "submissions/01900000-0000-7000-8000-000000000000" + part
    method = "POST" if part == "/cancel" else "GET"
    for who in (gateway.key("enroll", name="another"), gateway.staff, gateway.learner("ann")):
        answers = [gateway.call(method, path, who) for path in (place, nowhere)]
        assert [answer.status_code for answer in answers] == [404, 404]
        assert answers[0].json == answers[1].json
        assert answers[0].headers["content-type"] == "application/problem+json"
    gateway.work()
    if method == "GET":
        assert gateway.get(place, gateway.admin).status_code == 200


@pytest.mark.parametrize(
    "form",
    [
        lambda id_: id_.replace("-", ""),
        lambda id_: f"{{{id_}}}",
        lambda id_: f"urn:uuid:{id_}",
        lambda id_: id_.replace("-", "") + "----",
        lambda id_: id_.replace("-", "_"),
        lambda id_: id_[:-1],
    ],
)
def test_only_the_id_that_was_given_out_names_a_submission(small, form):
    place, _, id_ = hand_in(small).rpartition("/")
    assert small.get(f"{place}/{id_.upper()}", small.admin).status_code == 200
    for part in ("", "/outcomes"):
        assert small.get(f"{place}/{form(id_)}{part}", small.admin).status_code == 404


@pytest.mark.parametrize("name", ["1", "%00", "x" * 500, "0190-", "null", "a.b", "{}"])
def test_what_is_no_id_is_404(small, name):
    for part in ("", "/outcomes"):
        assert small.get(f"submissions/{name}{part}", small.admin).status_code == 404


# --- the listing --------------------------------------------------------------------------


def listed(gateway, query="", who=None):
    answer = gateway.get(f"submissions{query}", who or gateway.admin)
    assert answer.status_code == 200, answer.text
    return [one["submission_id"] for one in answer.json["submissions"]], answer.json["next"]


def test_the_listing_has_one_s_own_newest_first(alone):
    places = [hand_in(alone) for _ in range(3)]
    hand_in(alone, who=alone.server)
    body = {"user": "ann", "course_id": alone.course(AUDIT)}
    places.append(alone.post("enrollment", alone.admin, json=body).headers["location"])
    ids = [place.rpartition("/")[2] for place in reversed(places)]
    assert listed(alone) == (ids, None)
    assert len(listed(alone, who=alone.server)[0]) == 1
    assert listed(alone, who=alone.staff) == ([], None)


@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_pages_give_everything_once_in_order(alone, size):
    places = [hand_in(alone) for _ in range(5)]
    ids, cursor, seen = [], "", 0
    while cursor is not None:
        page, cursor = listed(alone, f"?limit={size}" + (f"&cursor={cursor}" if cursor else ""))
        ids += page
        seen += 1
        assert seen <= 6
    assert ids == [place.rpartition("/")[2] for place in reversed(places)]


def test_the_listing_can_be_narrowed_to_a_state(slow):
    body = {"user": "ann", "course_id": slow.course(AUDIT)}
    done = [hand_in(slow), slow.post("enrollment", slow.admin, json=body).headers["location"]]
    slow.work()
    cancelled = [hand_in(slow), slow.post("enrollment", slow.admin, json=body).headers["location"]]
    for place in cancelled:
        slow.post(place + "/cancel", slow.admin)
    slow.work()
    running = [hand_in(slow, rows=3)]
    slow.work(1)
    queued = [hand_in(slow), slow.post("enrollment", slow.admin, json=body).headers["location"]]
    places = {"queued": queued, "running": running, "done": done, "cancelled": cancelled}
    for state, expected in places.items():
        found, _ = listed(slow, f"?state={state}")
        assert found == [place.rpartition("/")[2] for place in reversed(expected)], state


def test_the_listing_can_be_narrowed_to_several_states(slow):
    done, running = hand_in(slow), hand_in(slow, rows=3)
    slow.work(2)
    queued = hand_in(slow)
    ids = {name.rpartition("/")[2] for name in (done, running)}
    assert set(listed(slow, "?state=done&state=running")[0]) == ids
    assert listed(slow, "?state=running&state=queued")[0][0] == queued.rpartition("/")[2]


@pytest.mark.parametrize(
    "query",
    [
        "state=over",
        "state=over&state=done",
        "state=DONE",
        "limit=0",
        "limit=x",
        "limit=1001",
        "limit=-1",
        "limit=" + "9" * 400,
        "limit=%D9%A1",
        "cursor=!!",
        "cursor=AAAA",
        "cursor=%00",
        "cursor=OTk5OTk5OTk5OTk5OTk5OTk5OTk5OTk5IHg",
        "cursor=LTYyMTM1NTk2ODAwMDAwMDAwMDEgMDE5MDAwMDAtMDAwMC03MDAwLTgwMDAtMDAwMDAwMDAwMDAw",
    ],
)
def test_a_query_that_is_no_good_is_400(gateway, query):
    answer = gateway.get(f"submissions?{query}", gateway.admin)
    assert answer.status_code == 400, answer.text
    found = answer.json["errors"][0]
    assert found["field"] == query.partition("=")[0]
    assert found["rule"] in {"range", "one_of"}
    assert found["value"]


# --- cancelling ---------------------------------------------------------------------------


def test_cancelling_leaves_what_is_answered_and_drops_the_rest(slow):
    place = hand_in(slow, rows=6)
    slow.work(1)
    asked = slow.post(place + "/cancel", slow.admin)
    assert (asked.status_code, asked.json["state"]) == (202, "running")
    assert asked.headers["location"] == place
    assert slow.post(place + "/cancel", slow.admin).status_code == 202
    slow.work()
    shown = slow.get(place, slow.admin).json
    assert (shown["state"], shown["result"]) == ("cancelled", "partial")
    assert (
        shown["counts"]["enrolled"],
        shown["counts"]["cancelled"],
        shown["counts"]["pending"],
    ) == (2, 4, 0)
    outcomes = slow.get(place + "/outcomes", slow.admin).json["outcomes"]
    assert [one["outcome"] for one in outcomes] == ["enrolled"] * 2 + ["cancelled"] * 4
    assert [one["line"] for one in outcomes] == [2, 3, 4, 5, 6, 7]
    assert all(one["user"] and one["course_id"] for one in outcomes)


def test_what_is_done_can_no_longer_be_cancelled(gateway):
    place = hand_in(gateway)
    gateway.work()
    answer = gateway.post(place + "/cancel", gateway.admin)
    assert (answer.status_code, answer.json["code"]) == (409, "submission_finished")
    assert gateway.get(place, gateway.admin).json["state"] == "done"


def test_a_single_can_be_cancelled_until_it_is_answered(gateway):
    user = fresh("ann")
    body = {"user": user, "course_id": gateway.course(AUDIT)}
    place = gateway.post("enrollment", gateway.learner(user), json=body).headers["location"]
    assert gateway.post(place + "/cancel", gateway.learner(user)).status_code == 202
    gateway.work()
    shown = gateway.get(place, gateway.learner(user)).json
    assert (shown["state"], shown["result"]) == ("cancelled", "failed")
    assert shown["outcome"]["outcome"] == "cancelled"
    assert gateway.post(place + "/cancel", gateway.learner(user)).status_code == 409


def test_cancelling_a_single_rings_for_its_batch(start):
    gateway = start()
    body = {"user": fresh("ann"), "course_id": gateway.course(AUDIT)}
    place = gateway.post("enrollment", gateway.server, json=body).headers["location"]
    rung = gateway.rung()
    gateway.parts.dispatcher.on_completed([rung.id])  # its worker passed it by
    gateway.post(place + "/cancel", gateway.server)
    assert gateway.rung() == rung


def test_an_admin_sees_and_cancels_everybody_s(gateway):
    place = hand_in(gateway, who=gateway.server)
    assert gateway.get(place, gateway.admin).json["state"] == "queued"
    assert gateway.post(place + "/cancel", gateway.admin).status_code == 202
    gateway.work()
    assert gateway.get(place, gateway.server).json["state"] == "cancelled"
