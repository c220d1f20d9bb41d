"""What is read back: one enrollment, one person's, the feed, the history."""

from datetime import UTC, datetime
from urllib.parse import quote
from uuid import UUID

import pytest
from sqlalchemy import delete

from enrollment.storage import events
from enrollment.storage.tables import SubmissionRow
from tests.support.gateway import AUDIT, VERIFIED, ahead, fresh

# --- one ----------------------------------------------------------------------------------


def spelt(user, course_id):
    return [
        f"enrollment/{user},{course_id}",
        f"enrollment/{quote(user, safe='')},{quote(course_id, safe='')}",
        f"enrollment/{quote(f'{user},{course_id}', safe='')}",
        f"enrollment/{user},{course_id}/",
    ]


@pytest.mark.parametrize(
    "form", ["course-v1:Uni+{}+2026", "Uni/{}/2026", "course-v1:Üni+{}+2026.a-b~c:d"]
)
def test_an_enrollment_is_found_however_its_address_is_spelt(gateway, form):
    course_id = gateway.course(AUDIT, course_id=form.format(fresh("C")))
    user = fresh("Ann Example.@+-_")
    first = gateway.enroll(gateway.server, course_id, user)
    for path in spelt(user, course_id):
        answer = gateway.get(path, gateway.server)
        assert answer.status_code == 200, path
        assert answer.headers["content-type"] == "application/json"
        assert answer.json == first.json
    for path in (f"enrollment/{course_id}", f"enrollment/{quote(course_id, safe='')}/"):
        assert gateway.get(path, gateway.learner(user)).json == first.json


def test_an_inactive_enrollment_is_shown_as_such(gateway):
    course_id, user = gateway.course(AUDIT), fresh("ann")
    gateway.enroll(gateway.server, course_id, user, is_active=False)
    shown = gateway.get(f"enrollment/{user},{course_id}", gateway.server).json
    assert shown["is_active"] is False


@pytest.mark.parametrize(
    "names",
    [
        "{user},{course}",
        "{user},course-v1:No+Such+Course",
        "nobody at all,{course}",
        "{user},No/Such/Course",
    ],
)
def test_no_enrollment_is_200_with_nothing_in_it_and_no_content_type(gateway, names):
    path = names.format(user=gateway.person(), course=gateway.course(AUDIT))
    answer = gateway.get(f"enrollment/{path}", gateway.server)
    assert (answer.status_code, answer.content) == (200, b"")
    assert "content-type" not in answer.headers


def test_a_key_alone_has_no_enrollment_of_its_own(small):
    answer = small.get(f"enrollment/{small.course(AUDIT)}", small.server)
    assert (answer.status_code, answer.content) == (200, b"")


@pytest.mark.parametrize(
    "names",
    [
        "ann,notacourse",
        "ann,a+b+c",
        "notacourse",
        "a+b+c",
        "ann,course-v1:a+b",
        "ann,",
        ",",
        "ann,a/b",
        "ann,a b/c/d",
        "ann,course-v1:a+b+c d",
        "ann,a/b/c/d",
        "ann," + "a" * 300 + "/b/c",
    ],
)
def test_a_key_that_cannot_be_parsed_is_400(small, names):
    answer = small.get(f"enrollment/{quote(names)}", small.server)
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/json"
    assert "is not a valid course id" in answer.json["message"]
    (error,) = answer.json["errors"]
    assert (answer.json["code"], error["field"], error["rule"]) == (
        "invalid_row",
        "course_id",
        "course_key",
    )


@pytest.mark.parametrize("user", ["%00", "a%00b", "%ff", "%ed%a0%80", "x" * 1000, "''--", "%27%3B"])
def test_an_odd_name_in_an_address_finds_nothing_and_breaks_nothing(gateway, user):
    course_id = gateway.course(AUDIT)
    for path in (f"enrollment/{user},{course_id}", f"enrollment/{user},{course_id}/history"):
        answer = gateway.get(path, gateway.server)
        assert answer.status_code == 200, answer.text
    assert gateway.get(f"enrollment?user={user}", gateway.server).json == []


# --- the list -----------------------------------------------------------------------------


def test_the_list_has_active_enrollments_in_the_order_of_their_creation(gateway):
    user = fresh("ann")
    ids = [gateway.course(AUDIT, name=f"Course {n}") for n in range(3)]
    for course_id in ids:
        gateway.enroll(gateway.server, course_id, user)
    gateway.enroll(gateway.server, ids[1], user, is_active=False)
    for who, query in (
        (gateway.server, f"?user={user}"),
        (gateway.learner(user), ""),
        (gateway.staff, f"?user={user}&page_size=1"),
    ):
        shown = gateway.get(f"enrollment{query}", who).json
        assert [one["course_details"]["course_id"] for one in shown] == [ids[0], ids[2]]
        assert shown[0]["course_details"]["course_name"] == "Course 0"


def test_a_key_without_a_user_and_an_unknown_user_have_an_empty_list(small):
    for query in ("", "?user=", "?user=nobody", "?what=1"):
        answer = small.get(f"enrollment{query}", small.server)
        assert (answer.status_code, answer.json) == (200, [])


@pytest.mark.parametrize(
    "member", ["enrollment_start", "enrollment_end", "course_start", "course_end"]
)
def test_dates_are_shown_in_utc_with_z_or_null(gateway, member):
    at = datetime(2015, 1, 2, 3, 4, 5, tzinfo=UTC)
    course_id, user = gateway.course(AUDIT, **{member: at}), fresh("ann")
    gateway.enroll(gateway.admin, course_id, user, is_active=False)
    dates = {
        "enrollment_start": None,
        "enrollment_end": None,
        "course_start": None,
        "course_end": None,
    }
    expected = dates | {member: "2015-01-02T03:04:05Z"}
    for shown in (
        gateway.get(f"course/{course_id}").json,
        gateway.get(f"enrollment/{user},{course_id}", gateway.admin).json["course_details"],
    ):
        assert {name: shown[name] for name in dates} == expected


# --- the feed -----------------------------------------------------------------------------


def test_the_feed_gives_every_change_once_in_order(alone):
    course_id = alone.course(AUDIT, VERIFIED)
    alone.enroll(alone.admin, course_id, "ann")
    alone.enroll(alone.admin, course_id, "ann")
    alone.enroll(alone.admin, course_id, "ann", mode="verified")
    alone.enroll(alone.admin, course_id, "ann", is_active=False)
    alone.submit(f"user,course_id\nbob,{course_id}\nann,{course_id}\nann,nonsense\n")
    whole = alone.get("changes?since=0", alone.admin).json
    kinds = [event["type"].partition(".")[2] for event in whole["changes"]]
    assert kinds == ["created", "mode_changed", "deactivated", "created", "reactivated"]
    assert [event["data"]["position"] for event in whole["changes"]] == [1, 2, 3, 4, 5]
    assert whole["next"] == 5
    assert all(event["specversion"] == "1.0" for event in whole["changes"])
    assert whole["changes"][0]["subject"] == f"{course_id}/ann"
    found, since = [], 0
    while (page := alone.get(f"changes?since={since}&limit=2", alone.admin).json)["changes"]:
        found += page["changes"]
        since = page["next"]
    assert found == whole["changes"]
    assert alone.get(f"changes?since={since}", alone.admin).json == {"changes": [], "next": since}


@pytest.mark.parametrize(
    "value", ["x", "-1", "1.5", "9" * 30, "0" * 20 + "9" * 30, "%00", "%D9%A1"]
)
def test_a_number_that_is_none_is_400(gateway, value):
    for name in ("since", "limit"):
        answer = gateway.get(f"changes?{name}={value}", gateway.admin)
        assert answer.status_code == 400, answer.text
        found = answer.json["errors"][0]
        assert (found["field"], found["rule"]) == (name, "range")
        assert found["value"]


def test_far_beyond_the_end_of_the_feed_there_is_nothing_yet(gateway):
    far = 1 << 61
    assert gateway.get(f"changes?since={far}", gateway.admin).json == {"changes": [], "next": far}


# --- the history --------------------------------------------------------------------------


def test_the_history_says_who_changed_what_when_by_which_row(gateway):
    course_id, user = gateway.course(AUDIT, VERIFIED), fresh("ann")
    status = gateway.submit(f"user,course_id\n{user},{course_id}\n")
    gateway.enroll(gateway.server, course_id, user, mode="verified")
    events = gateway.get(f"enrollment/{user},{course_id}/history", gateway.server).json["events"]
    assert [event["type"] for event in events] == ["enrollment.created", "enrollment.mode_changed"]
    first, second = (event["data"] for event in events)
    assert (first["before"], first["after"]["mode"], first["line"]) == (None, "audit", 2)
    assert first["submission_id"] == status.json["submission_id"]
    assert first["caller"] == status.json["caller"]
    assert (second["before"], second["after"]["mode"]) == (first["after"], "verified")
    assert events[0]["time"] <= events[1]["time"] <= ahead(hours=1).isoformat()


def test_the_id_of_a_request_follows_it_into_events(gateway):
    course_id, user = gateway.course(AUDIT), fresh("ann")
    rows = f"user,course_id\n{user},{course_id}\n"
    types = {"Content-Type": "text/csv", "X-Request-ID": "of-the-file"}
    gateway.post("submissions", gateway.server, body=rows, headers=types)
    gateway.work()
    request = {"user": user, "course_id": course_id, "is_active": False}
    headers = {"X-Request-ID": "of-the-single"}
    single = gateway.post("enrollment", gateway.server, json=request, headers=headers).json
    gateway.work()

    def request_ids(path, name):
        found = gateway.get(path, gateway.admin).json[name]
        return [event["data"]["request_id"] for event in found]

    expected = ["of-the-file", "of-the-single"]
    history, feed = f"enrollment/{user},{course_id}/history", f"changes?username={user}"
    assert request_ids(history, "events") == request_ids(feed, "changes") == expected
    with gateway.sessions.begin() as session:  # as after ENROLL_RETENTION_DAYS
        wanted = SubmissionRow.id == UUID(single["submission_id"])
        session.execute(delete(SubmissionRow).where(wanted))
    assert request_ids(history, "events") == ["of-the-file", None]


def test_no_enrollment_has_an_empty_history(gateway):
    path = f"enrollment/{fresh('nobody')},{gateway.course(AUDIT)}/history"
    assert gateway.get(path, gateway.server).json == {"events": []}


@pytest.mark.parametrize(("most", "is_cut"), [(2, True), (3, False), (4, False)])
def test_a_history_that_leaves_out_the_oldest_says_so(gateway, monkeypatch, most, is_cut):
    monkeypatch.setattr(events, "MAX_HISTORY", most)
    course_id, user = gateway.course(AUDIT), fresh("ann")
    for is_active in (True, False, True):
        gateway.enroll(gateway.server, course_id, user, is_active=is_active)
    shown = gateway.get(f"enrollment/{user},{course_id}/history", gateway.server).json
    assert len(shown["events"]) == min(most, 3)
    assert shown.get("truncated", False) is is_cut


@pytest.mark.parametrize(
    ("names", "query", "who", "status", "code"),
    [
        ("{user},{course_id}", "?limit=1", "server", 400, "invalid_parameter"),
        ("{user},course-v1:A+B", "", "server", 400, "invalid_course_id"),
        ("{user},{course_id}", "", "learner", 404, "not_found"),
        ("{user},{course_id}", "", None, 401, "not_authenticated"),
    ],
)
def test_errors_of_a_history_are_those_of_our_routes(small, names, query, who, status, code):
    course_id, user = small.course(AUDIT), fresh("ann")
    caller = {"server": small.server, "learner": small.learner(fresh("bo")), None: {}}[who]
    path = names.format(user=user, course_id=course_id)
    refused = small.get(f"enrollment/{path}/history{query}", caller)
    assert (refused.status_code, refused.json["code"]) == (status, code)
    assert refused.headers["content-type"] == "application/problem+json"


def test_a_run_may_be_called_history(small):
    course_id, user = small.course(AUDIT, course_id=f"Uni/{fresh('alg')}/history"), fresh("ann")
    small.enroll(small.server, course_id, user)
    assert small.get(f"enrollment/{user},{course_id}?x=1", small.server).json["user"] == user
    assert (
        len(small.get(f"enrollment/{user},{course_id}/history", small.server).json["events"]) == 1
    )
    hidden = small.get(f"enrollment/{user},{course_id}", small.learner(fresh("bo")))
    assert (hidden.status_code, hidden.text) == (404, "")


# --- who may keep it ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "enrollment",
        "enrollment?user={user}",
        "enrollment/{user},{course_id}",
        "enrollment/nobody,{course_id}",
        "enrollment/{user},{course_id}/history",
        "enrollments?page_size=1",
        "changes?limit=1",
        "submissions",
    ],
)
def test_what_is_about_persons_is_kept_by_nobody_on_the_way(small, path):
    course_id, user = small.course(AUDIT), fresh("ann")
    small.enroll(small.admin, course_id, user)
    answer = small.get(path.format(user=user, course_id=course_id), small.admin)
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "private, no-store"
