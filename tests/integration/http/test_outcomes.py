"""GET /submissions/{id}/outcomes: pages, whole files, and files that are mended and sent again."""

import csv
import io
import json

import pytest

from enrollment.domain.model import Mode
from tests.support.gateway import AUDIT, ago, fresh


def rows_of(text):
    return list(csv.DictReader(io.StringIO(text.removeprefix("\ufeff"), newline="")))


def csv_of(gateway, status, query=""):
    answer = gateway.get(
        status.json["links"]["outcomes"] + query, gateway.admin, headers={"Accept": "text/csv"}
    )
    assert answer.status_code == 200
    return answer


@pytest.fixture(scope="module")
def mixed(gateway):
    """A file of five rows: good, unknown course, unreadable, good, unknown course."""
    course_id = gateway.course(AUDIT)
    rows = [
        f"1,{fresh('u')},{course_id},x",
        f"2,{fresh('u')},a/b/c,x",
        f"3,{fresh('u')},nonsense,x",
        f"4,{fresh('u')},{course_id},x",
        f"5,{fresh('u')},a/b/c,x",
    ]
    return gateway.submit("No,user,course_id,Remark\n" + "\n".join(rows))


def test_outcomes_come_in_the_order_of_the_input_with_their_lines(gateway, mixed):
    body = gateway.get(mixed.json["links"]["outcomes"], gateway.admin).json
    assert body["next"] is None
    shown = body["outcomes"]
    assert [one["line"] for one in shown] == [2, 3, 4, 5, 6]
    assert [one["outcome"] for one in shown] == [
        "enrolled",
        "refused",
        "invalid",
        "enrolled",
        "refused",
    ]
    assert [one.get("reason") for one in shown] == [
        None,
        "course_not_found",
        "invalid_row",
        None,
        "course_not_found",
    ]
    assert set(shown[0]) == {"line", "user", "course_id", "outcome", "mode", "is_active"}
    assert shown[1]["message"]
    (error,) = shown[2]["errors"]
    assert (error["field"], error["value"], error["rule"]) == (
        "course_id",
        "nonsense",
        "course_key",
    )
    assert error["message"] == shown[2]["message"]
    assert error["message"].startswith("course_id: 'nonsense' is not a course id: write ")


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 6])
@pytest.mark.parametrize(("query", "lines"), [("", [2, 3, 4, 5, 6]), ("&outcome=refused", [3, 6])])
def test_pages_give_everything_once(gateway, mixed, size, query, lines):
    found, cursor = [], ""
    for _ in range(8):
        path = f"{mixed.json['links']['outcomes']}?limit={size}{query}{cursor}"
        body = gateway.get(path, gateway.admin).json
        found += [one["line"] for one in body["outcomes"]]
        if body["next"] is None:
            break
        cursor = f"&cursor={body['next']}"
    else:
        pytest.fail("the pages never end")
    assert found == lines


@pytest.mark.parametrize(
    ("query", "lines"),
    [
        ("outcome=refused", [3, 6]),
        ("outcome=refused,invalid", [3, 4, 6]),
        ("outcome=refused&outcome=invalid", [3, 4, 6]),
        ("outcome=enrolled,invalid&outcome=refused", [2, 3, 4, 5, 6]),
        ("reason=invalid_row&reason=course_not_found", [3, 4, 6]),
        ("outcome=enrolled", [2, 5]),
        ("outcome=cancelled", []),
        ("reason=invalid_row", [4]),
        ("reason=invalid_row,course_not_found", [3, 4, 6]),
        ("outcome=refused&reason=invalid_row", []),
    ],
)
def test_filters_narrow_every_form(gateway, mixed, query, lines):
    place = f"{mixed.json['links']['outcomes']}?{query}"
    page = gateway.get(place, gateway.admin).json["outcomes"]
    ndjson = gateway.get(place, gateway.admin, headers={"Accept": "application/x-ndjson"})
    assert [one["line"] for one in page] == lines
    assert [json.loads(line)["line"] for line in ndjson.text.splitlines()] == lines
    assert [
        int(row["No"]) + 1 for row in rows_of(csv_of(gateway, mixed, f"?{query}").text)
    ] == lines


@pytest.mark.parametrize(
    "query",
    [
        "outcome=over",
        "outcome=refused,over",
        "outcome=over&outcome=refused",
        "reason=because",
        "limit=0",
        "cursor=!",
        "cursor=eC54",
        "cursor=MQ",
        "cursor=4pGg",
    ],
)
def test_a_query_that_is_no_good_is_400(gateway, mixed, query):
    answer = gateway.get(f"{mixed.json['links']['outcomes']}?{query}", gateway.admin)
    assert answer.status_code == 400, answer.text
    assert answer.headers["content-type"] == "application/problem+json"


def test_a_cursor_far_beyond_the_end_is_an_empty_page(gateway, mixed):
    far = "OTk5OTk5OTk5OTk5OTkuOTk5OTk5OTk5OTk5OTk"
    body = gateway.get(f"{mixed.json['links']['outcomes']}?cursor={far}", gateway.admin).json
    assert body == {"outcomes": [], "next": None}


def test_the_three_forms_are_told_apart_by_accept(gateway, mixed):
    place = mixed.json["links"]["outcomes"]
    for accept, given in (
        ("*/*", "application/json"),
        ("application/json", "application/json"),
        ("application/x-ndjson", "application/x-ndjson"),
        ("text/csv", "text/csv; charset=utf-8"),
        ("text/csv;q=0.5, application/json", "application/json"),
        ("text/html", "application/json"),
    ):
        answer = gateway.get(place, gateway.admin, headers={"Accept": accept})
        assert answer.headers["content-type"] == given
        assert answer.headers["vary"] == "Accept, Authorization, X-Edx-Api-Key"


def test_csv_gives_the_file_s_own_columns_back_and_then_the_answer(gateway, mixed):
    answer = csv_of(gateway, mixed)
    assert answer.headers["content-disposition"].startswith("attachment; filename=")
    rows = rows_of(answer.text)
    assert list(rows[0]) == ["No", "user", "course_id", "Remark", "outcome", "reason", "message"]
    assert [row["No"] for row in rows] == list("12345")
    assert [row["outcome"] for row in rows] == [
        "enrolled",
        "refused",
        "invalid",
        "enrolled",
        "refused",
    ]
    assert rows[1]["message"]
    assert rows[0]["reason"] == rows[0]["message"] == ""


@pytest.mark.parametrize(
    ("query", "mark"), [("", "\ufeff"), ("?bom=true", "\ufeff"), ("?bom=false", ""), ("?bom=0", "")]
)
def test_csv_begins_with_a_byte_order_mark_unless_it_is_not_wanted(gateway, mixed, query, mark):
    assert csv_of(gateway, mixed, query).text.startswith(f"{mark}No,user,")
    place = mixed.json["links"]["outcomes"] + query
    ndjson = gateway.get(place, gateway.admin, headers={"Accept": "application/x-ndjson"})
    assert ndjson.text.startswith("{")


@pytest.mark.parametrize("kind", ["text/csv", "application/x-ndjson", "application/json"])
def test_whether_there_is_a_mark_is_a_flag(gateway, mixed, kind):
    place = mixed.json["links"]["outcomes"] + "?bom=maybe"
    answer = gateway.get(place, gateway.admin, headers={"Accept": kind})
    assert (answer.status_code, answer.json["code"]) == (400, "option_invalid")


def test_refused_rows_are_mended_and_sent_again_as_they_are(gateway):
    late = Mode(slug="verified", expires_at=ago(days=1))
    course_id, users = gateway.course(AUDIT, late), [fresh("u"), fresh("u"), fresh("u")]
    head = '"user";"course_id";"mode";"=Note"'
    rows = [f'{user};{course_id};verified;"=1+1 ""a;b"""' for user in users]
    rows[1] = rows[1].replace("verified", "audit")
    status = gateway.submit(head + "\r\n" + "\r\n".join(rows) + "\r\n")
    refused = csv_of(gateway, status, "?outcome=refused").text
    assert refused.startswith("\ufeffuser;course_id;mode;'=Note;outcome;reason;message\r\n")
    assert refused.count("\r\n") == 3
    mended = gateway.submit(refused.replace("verified", "audit"))
    assert (mended.json["result"], mended.json["counts"]["enrolled"]) == ("succeeded", 2)
    again = csv_of(gateway, mended).text
    assert again.splitlines()[0] == refused.splitlines()[0]
    assert [row["user"] for row in csv.DictReader(io.StringIO(again[1:]), delimiter=";")] == [
        users[0],
        users[2],
    ]


FORMULAS = ["=cmd|' /C calc'!A0", "+1+1", "-1+1", "@SUM(A1)", "  =1", "\t=1", "\uff1d1"]


@pytest.mark.parametrize("formula", FORMULAS)
def test_no_cell_of_a_result_file_is_run_by_a_spreadsheet(small, formula):
    text = io.StringIO(newline="")
    csv.writer(text).writerows([["user", "course_id", "note"], [fresh("u"), "a/b/c", formula]])
    status = small.submit(text.getvalue())
    cell = rows_of(csv_of(small, status).text)[0]["note"]
    assert cell == "'" + formula.lstrip(" ")
    assert rows_of(csv_of(small, small.submit(csv_of(small, status).text)).text)[0]["note"] == cell


def test_numbers_are_left_alone(small):
    status = small.submit(f"user,course_id,note\n{fresh('u')},a/b/c,-17.5\n")
    assert rows_of(csv_of(small, status).text)[0]["note"] == "-17.5"


def test_a_username_that_looks_like_a_formula_comes_back_and_goes_in_again(gateway):
    course_id, user = gateway.course(AUDIT, enrollment_end=ago(days=1)), fresh("+ann")
    status = gateway.submit(f"user,course_id\n{user},{course_id}\n")
    text = csv_of(gateway, status).text
    assert f"'{user}" in text
    again = gateway.submit(text)
    outcomes = gateway.get(again.json["links"]["outcomes"], gateway.admin).json["outcomes"]
    assert outcomes[0]["user"] == user


@pytest.mark.parametrize("form", ["json", "x-ndjson"])
def test_what_came_without_columns_gets_ours(gateway, form):
    course_id, user = gateway.course(AUDIT), fresh("u")
    rows = [{"user": user, "course_id": course_id, "is_active": False}, {"user": "a/b"}]
    text = json.dumps(rows) if form == "json" else "\n".join(map(json.dumps, rows))
    status = gateway.submit(text, content_type=f"application/{form}")
    found = rows_of(csv_of(gateway, status).text)
    assert [row["line"] for row in found] == ["1", "2"]
    assert (found[0]["user"], found[0]["course_id"], found[0]["is_active"]) == (
        user,
        course_id,
        "false",
    )
    assert [row["outcome"] for row in found] == ["deactivated", "invalid"]
    assert (found[1]["user"], found[1]["course_id"]) == ("a/b", "")


def test_a_row_that_cannot_be_read_still_says_whom_it_names(small):
    status = small.submit("user,course_id,mode\na;b,nope,\nann,a/b/c,,too many\n")
    listed = small.get(status.json["links"]["outcomes"], small.admin).json["outcomes"]
    assert [(one["user"], one["course_id"]) for one in listed] == [
        ("a;b", "nope"),
        ("ann", "a/b/c"),
    ]
    assert listed[1]["message"] == (
        "'too many' is in no column: the row has more cells than the header; remove the cell, or "
        "put quotes around a cell that contains the separator."
    )


def test_cells_without_a_column_are_not_lost_and_stay_a_fault_until_mended(gateway):
    course_id, user = gateway.course(AUDIT), fresh("u")
    status = gateway.submit(f"user,course_id,mode\n{user},{course_id},audit,too many\n")
    text = csv_of(gateway, status).text
    assert text.splitlines()[1].endswith('separator.",too many')
    again = gateway.submit(text)
    assert again.json["counts"]["invalid"] == 1
    assert csv_of(gateway, again).text == text
    mended = gateway.submit(text.replace(",too many\r", "\r"))
    assert mended.json["counts"]["enrolled"] == 1


def test_a_single_has_its_one_outcome_in_every_form(gateway):
    user, course_id = fresh("ann"), gateway.course(AUDIT)
    body = {"user": user, "course_id": course_id}
    place = gateway.post("enrollment", gateway.admin, json=body).headers["location"] + "/outcomes"
    assert gateway.get(place, gateway.admin).json["outcomes"] == []
    gateway.work()
    shown = gateway.get(place, gateway.admin).json
    assert [one["outcome"] for one in shown["outcomes"]] == ["enrolled"]
    assert shown["next"] is None
    text = gateway.get(place, gateway.admin, headers={"Accept": "text/csv"}).text
    assert rows_of(text)[0]["user"] == user
    lines = gateway.get(place, gateway.admin, headers={"Accept": "application/x-ndjson"}).text
    assert json.loads(lines)["user"] == user


@pytest.mark.parametrize("form", ["text/csv", "application/x-ndjson"])
def test_a_file_of_outcomes_is_given_when_it_is_whole(start, form):
    gateway = start(batch_rows="2")
    course_id = gateway.course(AUDIT)
    text = "user,course_id\n" + "".join(f"u{n},{course_id}\n" for n in range(3))
    accepted = gateway.post(
        "submissions", gateway.admin, body=text, headers={"Content-Type": "text/csv"}
    )
    gateway.work(1)
    body = {"user": fresh("ann"), "course_id": course_id}
    single = gateway.post("enrollment", gateway.admin, json=body)
    places = [f"{answer.headers['location']}/outcomes" for answer in (accepted, single)]
    accept = {"Accept": form}
    for place in places:
        early = gateway.get(place, gateway.admin, headers=accept)
        assert (early.status_code, early.json["code"]) == (409, "submission_not_finished")
        assert int(early.headers["retry-after"]) >= 1
        assert "content-disposition" not in early.headers
    gateway.work()
    for place in places:
        assert gateway.get(place, gateway.admin, headers=accept).status_code == 200


def test_outcomes_can_be_read_while_work_goes_on(start):
    gateway = start(batch_rows="2")
    course_id = gateway.course(AUDIT)
    text = "user,course_id\n" + "".join(f"u{n},{course_id}\n" for n in range(5))
    headers = {"Content-Type": "text/csv"}
    place = gateway.post("submissions", gateway.admin, body=text, headers=headers).headers[
        "location"
    ]
    gateway.work(1)
    first = gateway.get(f"{place}/outcomes", gateway.admin).json
    assert [one["line"] for one in first["outcomes"]] == [2, 3]
    gateway.work()
    rest = gateway.get(f"{place}/outcomes?cursor={first['next']}", gateway.admin).json
    assert [one["line"] for one in rest["outcomes"]] == [4, 5, 6]
    assert rest["next"] is None
