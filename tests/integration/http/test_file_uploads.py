"""POST /submissions: the forms in which many requests come in, and the options they come with."""

import gzip
import json

import pytest

from schemas.findings import Rule
from tests.support.gateway import AUDIT, VERIFIED, ago, fresh

PATH = "/api/enrollment/v1/submissions"


def csv_of(*rows, head="user,course_id,mode"):
    return "\r\n".join([head, *rows, ""])


def post(gateway, body, content_type="text/csv", who=None, **more):
    headers = {"Content-Type": content_type, **more.pop("headers", {})}
    return gateway.post("submissions", who or gateway.admin, body=body, headers=headers, **more)


def outcomes(gateway, status, who=None):
    listed = gateway.get(status.json["links"]["outcomes"], who or gateway.admin).json["outcomes"]
    return [one["outcome"] for one in listed]


def bodies(course_id, users):
    asked = [{"user": user, "course_id": course_id, "mode": "audit"} for user in users]
    nested = [{"user": user, "course_details": {"course_id": course_id}} for user in users]
    text = csv_of(*[f"{user},{course_id},audit" for user in users])
    lines = "".join(json.dumps(one) + "\n" for one in asked)
    return {
        "array": (json.dumps(asked), "application/json"),
        "object": (json.dumps({"enrollments": nested}), "application/JSON; charset=utf-8"),
        "ndjson": (lines, "application/x-ndjson"),
        "ndjson with blanks": ("\n" + lines.replace("\n", "\r\n\r\n"), "application/x-ndjson"),
        "ndjson as text": (lines, "text/plain"),
        "csv": (text, "text/csv"),
        "csv with charset": (text, "Text/CSV; charset=utf-8"),
        "csv with mark": ("\ufeff" + text, "text/csv"),
        "csv as text": (text, "text/plain"),
        "semicolons": (text.replace(",", ";"), "text/csv"),
        "tabs": (text.replace(",", "\t"), "text/csv"),
        "unix lines": (text.replace("\r\n", "\n"), "text/csv"),
        "no last line end": (text.rstrip(), "text/csv"),
        "upstream's column": (text.replace("course_id", "course_details.course_id", 1), "text/csv"),
        "more columns": (
            text.replace("user,", "note,User ,", 1).replace("\r\nu", "\r\nx,u"),
            "text/csv",
        ),
    }


@pytest.mark.parametrize("form", bodies("", []))
def test_every_form_of_the_same_requests_comes_to_the_same(gateway, form):
    course_id, users = gateway.course(AUDIT), [fresh("u") for _ in range(3)]
    body, content_type = bodies(course_id, users)[form]
    accepted = post(gateway, body.encode(), content_type)
    assert accepted.status_code == 202, accepted.text
    shown = accepted.json
    assert accepted.headers["location"] == f"{PATH}/{shown['submission_id']}"
    assert int(accepted.headers["retry-after"]) >= 1
    assert (shown["kind"], shown["state"]) == ("bulk", "queued")
    assert (shown["counts"]["total"], shown["counts"]["pending"]) == (3, 3)
    gateway.work()
    status = gateway.get(accepted.headers["location"], gateway.admin)
    assert (status.json["state"], status.json["result"]) == ("done", "succeeded")
    assert (status.json["counts"]["enrolled"], status.json["counts"]["pending"]) == (3, 0)
    for user in users:
        assert gateway.get(f"enrollment/{user},{course_id}", gateway.admin).json["is_active"]


@pytest.mark.parametrize("form", ["csv", "ndjson", "array"])
def test_a_packed_file_is_read(small, form):
    body, content_type = bodies(small.course(AUDIT), [fresh("u")])[form]
    packed = gzip.compress(body.encode())
    answer = post(small, packed, content_type, headers={"Content-Encoding": "gzip"})
    assert (answer.status_code, answer.json["counts"]["total"]) == (202, 1)


@pytest.mark.parametrize("encoding", ["x-gzip", "GZIP", " X-Gzip "])
def test_gzip_has_another_name_and_no_case(small, encoding):
    body, content_type = bodies(small.course(AUDIT), [fresh("u")])["csv"]
    packed = {"Content-Encoding": encoding}
    answer = post(small, gzip.compress(body.encode()), content_type, headers=packed)
    assert answer.status_code == 202


def test_every_sort_of_outcome_is_counted_with_its_reason(gateway):
    open_, closed = (
        gateway.course(AUDIT, VERIFIED),
        gateway.course(AUDIT, enrollment_end=ago(days=1)),
    )
    user, gone = fresh("u"), fresh("u")
    rows = [
        f"{user},{open_},audit,true",
        f"{user},{open_},audit,true",
        f"{user},{open_},verified,true",
        f"{gone},{open_},audit,false",
        f"{gone},{open_},audit,true",
        f"{user},{open_},verified,false",
        f"{user},{closed},audit,true",
        f"{user},course-v1:No+Such+Course,audit,true",
        f"{user},{open_},no-such-mode,true",
        f"{user},nonsense,audit,true",
        f",{open_},audit,true",
        f"{user},{open_},audit,maybe",
    ]
    status = gateway.submit(csv_of(*rows, head="user,course_id,mode,is_active"))
    shown = status.json
    assert outcomes(gateway, status) == [
        "enrolled",
        "unchanged",
        "mode_changed",
        "deactivated",
        "reactivated",
        "deactivated",
        "refused",
        "refused",
        "refused",
        "invalid",
        "invalid",
        "invalid",
    ]
    assert {name: number for name, number in shown["counts"].items() if number} == {
        "total": 12,
        "enrolled": 1,
        "unchanged": 1,
        "mode_changed": 1,
        "deactivated": 2,
        "reactivated": 1,
        "refused": 3,
        "invalid": 3,
    }
    assert shown["reasons"] == {
        "enrollment_closed": 1,
        "course_not_found": 1,
        "mode_unavailable": 1,
        "invalid_row": 3,
    }
    assert (shown["state"], shown["result"], shown["progress"]) == ("done", "partial", 1.0)
    assert shown["started_at"] < shown["finished_at"]
    assert 0 < shown["rows_per_second"] < 12_000  # of twelve rows, in more than a millisecond
    assert shown["eta_seconds"] == 0


@pytest.mark.parametrize(
    ("rows", "result"), [(["u1,{c},audit"], "succeeded"), (["u1,{c},no"], "failed")]
)
def test_the_result_says_how_it_went_as_a_whole(small, rows, result):
    course_id = small.course(AUDIT)
    status = small.submit(csv_of(*[row.format(c=course_id) for row in rows]))
    assert status.json["result"] == result


def test_the_default_mode_is_for_rows_without_one(gateway):
    course_id, one, two = gateway.course(AUDIT, VERIFIED), fresh("u"), fresh("u")
    text = csv_of(f"{one},{course_id},", f"{two},{course_id},audit")
    status = gateway.submit(text, params={"default_mode": "verified"})
    assert status.json["options"]["default_mode"] == "verified"
    modes = [
        gateway.get(f"enrollment/{u},{course_id}", gateway.admin).json["mode"] for u in (one, two)
    ]
    assert modes == ["verified", "audit"]


@pytest.mark.parametrize("spoilt", ["u2,{c},no-such-mode", "u2,nonsense,audit"])
def test_all_or_nothing_means_nothing_where_one_row_fails(gateway, spoilt):
    course_id, user = gateway.course(AUDIT), fresh("u")
    rows = [f"{user},{course_id},audit", spoilt.format(c=course_id), f"{user},{course_id},audit"]
    status = gateway.submit(csv_of(*rows), params={"on_error": "abort"})
    assert status.json["result"] == "failed"
    assert status.json["reasons"]["aborted"] == 2
    assert gateway.get(f"enrollment/{user},{course_id}", gateway.admin).content == b""


def test_all_or_nothing_means_all_where_none_fails(gateway):
    course_id, user = gateway.course(AUDIT), fresh("u")
    text = csv_of(*[f"{user},{course_id},audit"] * 2)
    status = gateway.submit(text, params={"on_error": "abort"})
    assert outcomes(gateway, status) == ["enrolled", "unchanged"]


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("on_error=maybe", "on_error"),
        ("lane=fast", "lane"),
        ("format=xlsx", "format"),
        ("default_mode=", "default_mode"),
        ("default_mode=" + "m" * 101, "default_mode"),
        ("default_mode=%00", "default_mode"),
        ("source=", "source"),
        ("what=1", "what"),
        ("lane=bulk&lane=bulk", "lane"),
        ("on_error=abort&on_error=abort", "on_error"),
    ],
)
def test_an_option_that_is_none_is_400_and_says_what_would_do(small, query, named):
    answer = post(small, csv_of("ann,a/b/c,"), query_string=query)
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json["code"] == "option_invalid"
    found = answer.json["errors"][0]
    assert found["field"] == named
    assert found["rule"] in set(Rule)
    assert found["expected"] in answer.json["detail"]


@pytest.mark.parametrize(
    ("query", "rows", "lane"),
    [
        ("", 50, "interactive"),
        ("", 51, "bulk"),
        ("lane=bulk", 1, "bulk"),
        ("lane=interactive", 60, "interactive"),
    ],
)
def test_small_files_are_quick_unless_asked_otherwise(small, query, rows, lane):
    post(small, csv_of(*["ann,a/b/c,"] * rows), query_string=query)
    assert small.waiting()[-1].lane == lane
    small.work()


def test_servers_state_no_times_but_their_rows_alone_are_refused(gateway):
    course_id, user = gateway.course(AUDIT), fresh("u")
    text = csv_of(
        f"{user},{course_id},2026-01-01T00:00:00Z",
        f"{user},{course_id},",
        head="user,course_id,requested_at",
    )
    status = gateway.submit(text, gateway.server)
    listed = gateway.get(status.json["links"]["outcomes"], gateway.server).json["outcomes"]
    assert [one.get("reason") for one in listed] == ["not_permitted", None]


def test_the_trusted_state_times_and_may_send_the_file_again(gateway):
    course_id, user = gateway.course(AUDIT, enrollment_end=ago(days=1)), fresh("u")
    at = ago(days=2).isoformat()
    text = csv_of(f"{user},{course_id},{at}", head="user,course_id,requested_at")
    assert outcomes(gateway, gateway.submit(text)) == ["enrolled"]
    assert outcomes(gateway, gateway.submit(text)) == ["unchanged"]


# --- Idempotency-Key ----------------------------------------------------------------------


def test_a_file_sent_again_under_its_key_is_the_same_submission(gateway):
    keyed = {"Idempotency-Key": fresh("key-")}
    text = csv_of(f"{fresh('u')},{gateway.course(AUDIT)},audit").encode()
    first = post(gateway, text, headers=keyed)
    gateway.work()
    packed = keyed | {"Content-Encoding": "gzip"}
    for again in (
        post(gateway, text, headers=keyed),
        post(gateway, gzip.compress(text), headers=packed),
    ):
        assert again.status_code == 202
        assert again.headers["idempotency-replayed"] == "true"
        assert again.json["submission_id"] == first.json["submission_id"]
        assert again.json["state"] == "done"
    assert "idempotency-replayed" not in first.headers


@pytest.mark.parametrize(
    "other",
    [
        {"body": b"user,course_id,mode\r\nbob,a/b/c,"},
        {"query_string": "lane=bulk"},
        {"content_type": "text/plain"},
    ],
)
def test_another_file_under_a_used_key_is_422_and_leaves_nothing(gateway, other):
    keyed = {"Idempotency-Key": fresh("key-")}
    body = b"user,course_id,mode\r\nann,a/b/c,"
    post(gateway, body, headers=keyed)
    before = len(gateway.get("submissions?limit=1000", gateway.admin).json["submissions"])
    answer = post(gateway, **({"body": body, "headers": keyed} | other))
    assert (answer.status_code, answer.json["code"]) == (422, "idempotency_key_reused")
    after = len(gateway.get("submissions?limit=1000", gateway.admin).json["submissions"])
    assert before == after


def test_a_file_that_was_refused_keeps_no_key(small):
    keyed = {"Idempotency-Key": fresh("key-")}
    assert post(small, b"what,is,this\r\n1,2,3", headers=keyed).status_code == 422
    answer = post(small, b"user,course_id\r\nann,a/b/c", headers=keyed)
    assert (answer.status_code, "idempotency-replayed" in answer.headers) == (202, False)


def test_the_same_file_coming_in_twice_at_once_is_taken_once(gateway):
    keyed = {"Idempotency-Key": fresh("key-"), "Content-Type": "text/csv"}
    call = ("POST", "submissions", gateway.admin)
    body = b"user,course_id\r\n" + b"ann,a/b/c\r\n" * 2_000
    with (
        gateway.asking(*call, body=body, headers=keyed) as one,
        gateway.asking(*call, body=body, headers=keyed) as two,
    ):
        answers = sorted([one.result(), two.result()], key=lambda answer: answer.status_code)
    assert answers[0].status_code == 202
    assert answers[1].status_code in {202, 409}
    if answers[1].status_code == 409:
        assert answers[1].json["code"] == "idempotency_key_in_flight"
    again = post(gateway, body, headers=keyed)
    assert again.json["submission_id"] == answers[0].json["submission_id"]
    gateway.work()
