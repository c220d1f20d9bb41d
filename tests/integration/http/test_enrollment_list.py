"""GET /enrollments: everybody's enrollments, filtered and paged as upstream's clients ask."""

from urllib.parse import parse_qs, urlsplit

import pytest

from schemas.findings import Rule
from tests.support.gateway import AUDIT


@pytest.fixture(scope="module")
def listing(gateway):
    """Upstream's own fixture: two courses, five rows."""
    x, z = "course-v1:e+d+X", "course-v1:x+y+Z"
    for course_id in (x, z):
        gateway.course(AUDIT, course_id=course_id)
    emails = {name: f"{name}@example.org" for name in ("student1", "student2", "student3", "staff")}
    for name, email in emails.items():
        gateway.call("PUT", f"learners/{name}", gateway.admin, json={"email": email})
    for name, course_id, active in (
        ("student1", x, True),
        ("student2", x, False),
        ("student2", z, True),
        ("student3", z, True),
        ("staff", z, True),
    ):
        gateway.enroll(gateway.admin, course_id, name, is_active=active)
    gateway.course(AUDIT, course_id="course-v1:e+d+X2")
    gateway.enroll(gateway.admin, "course-v1:e+d+X2", "another")
    gateway.course(AUDIT, course_id="old/school/run")
    gateway.enroll(gateway.admin, "old/school/run", "another")
    return gateway


def names(gateway, query, who=None):
    answer = gateway.get(f"enrollments?{query}", who or gateway.admin)
    assert answer.status_code == 200, answer.text
    return sorted(row["user"] for row in answer.json["results"])


FILTERED = [
    ("course_id=course-v1:e%2Bd%2BX", ["student1", "student2"]),
    ("course_id=course-v1:x%2By%2BZ", ["staff", "student2", "student3"]),
    ("course_id=course-v1:x%2By%2BZ&username=student2,student3", ["student2", "student3"]),
    ("course_id=course-v1:x%2By%2BZ&username=student1,student2", ["student2"]),
    ("username=student2,staff", ["staff", "student2", "student2"]),
    ("email=student1@example.org", ["student1"]),
    ("email=STUDENT1@example.org,staff@example.org", ["staff", "student1"]),
    ("email=student2@example.org&course_id=course-v1:e%2Bd%2BX", ["student2"]),
    (
        "course_ids=course-v1:e%2Bd%2BX,course-v1:x%2By%2BZ",
        ["staff", "student1", "student2", "student2", "student3"],
    ),
    (
        "course_ids=course-v1:e%2Bd%2BX,x%2By%2BZ",
        ["staff", "student1", "student2", "student2", "student3"],
    ),
    ("course_ids=e%2Bd", ["another", "student1", "student2"]),
    ("course_ids=course-v1:e%2Bd", ["another", "student1", "student2"]),
    ("course_ids=course-v1:e%2Bd%2BX&username=student2", ["student2"]),
    ("course_ids=old/school", ["another"]),
    ("course_ids=old/school/run", ["another"]),
    ("course_ids=e", []),
    ("course_ids=%25", []),
    ("course_ids=e%2B", []),
    ("course_ids=E%2Bd", []),
    ("course_ids=course-v1:e%2BD", []),
    ("course_ids=OLD/school", []),
    ("course_id=old/school/run", ["another"]),
    ("username=nobody", []),
    ("username=nobody&course_id=course-v1:e%2Bd%2BX", []),
    ("course_id=course-v1:No%2BSuch%2BOne", []),
    ("course_id=course-v1:No%2BSuch%2BOne&username=student1", []),
    ("email=nobody@example.org", []),
    ("course_id=course-v1:e%2Bd%2BX&course_ids=e%2Bd", ["student1", "student2"]),
    ("course_id=course-v1:e%2Bd%2BX&course_ids=x%2By%2BZ", []),
]


@pytest.mark.parametrize(("query", "users"), FILTERED)
def test_every_filter_that_is_given_must_hold(listing, query, users):
    assert names(listing, query) == users


def test_rows_are_flat_inactive_ones_too(listing):
    rows = listing.get("enrollments?course_id=course-v1:e%2Bd%2BX", listing.admin).json["results"]
    assert all(set(row) == {"created", "mode", "is_active", "user", "course_id"} for row in rows)
    assert {row["user"]: row["is_active"] for row in rows} == {"student1": True, "student2": False}


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
def test_pages_follow_each_other_by_their_cursor(listing, size):
    query, found = f"page_size={size}&username=student2,student3,staff,another", []
    base = query
    while True:
        body = listing.get(f"enrollments?{query}", listing.admin).json
        found += [(row["user"], row["course_id"]) for row in body["results"]]
        assert body["previous"] is None
        assert "count" not in body
        if body["next"] is None:
            break
        address = urlsplit(body["next"])
        assert address.path == "/api/enrollment/v1/enrollments"
        cursor = parse_qs(address.query)["cursor"][0]
        followed = listing.get(f"enrollments?{address.query}&{base}", listing.admin).json
        query = f"{base}&cursor={cursor}"
        assert followed == listing.get(f"enrollments?{query}", listing.admin).json | {
            "next": followed["next"]
        }
    assert len(found) == len(set(found)) == 6
    assert found == [
        (row["user"], row["course_id"])
        for row in listing.get(f"enrollments?{base}&page_size=100", listing.admin).json["results"]
    ]


@pytest.mark.parametrize(
    ("query", "fields"),
    [
        ("course_id=1", {"course_id"}),
        ("course_id=1&username=student1", {"course_id"}),
        ("username=1*2", {"username"}),
        ("username=1*2&course_id=course-v1:e%2Bd%2BX", {"username"}),
        ("course_id=1&username=1*2", {"course_id", "username"}),
        ("course_id=%00", {"course_id"}),
        ("username=%00", {"username"}),
        ("username=,", {"username"}),
        ("username=", {"username"}),
        ("email=,,", {"email"}),
        ("course_ids=,&email=,", {"course_ids", "email"}),
        ("email=%00", {"email"}),
        ("course_ids=a%2Bb,%00", {"course_ids"}),
        ("username=" + ",".join(["u"] * 101), {"username"}),
        ("email=" + ",".join(["u@x.org"] * 101), {"email"}),
        ("course_ids=" + ",".join(["a"] * 101), {"course_ids"}),
    ],
)
def test_a_filter_that_is_none_is_400_in_upstream_s_shape(listing, query, fields):
    answer = listing.get(f"enrollments?{query}", listing.admin)
    assert answer.status_code == 400, answer.text
    assert answer.headers["content-type"] == "application/json"
    errors = answer.json["field_errors"]
    assert set(errors) == fields
    assert all(error["developer_message"] for error in errors.values())
    assert {found["field"] for found in answer.json["errors"]} == fields
    assert all(found["rule"] in set(Rule) and "value" in found for found in answer.json["errors"])
    assert answer.json["message"]


@pytest.mark.parametrize(
    ("size", "rows"),
    [
        ("2", 2),
        ("0002", 2),
        ("0", 7),
        ("-1", 7),
        ("x", 7),
        ("1.5", 7),
        ("", 7),
        ("\0", 7),
        ("\u0661", 7),
        ("9" * 500, 7),
    ],
)
def test_a_page_size_is_never_refused(listing, size, rows):
    query = {"page_size": size, "course_ids": "e+d,x+y,old/school"}
    answer = listing.get("enrollments", listing.admin, params=query, params_csv=False)
    assert answer.status_code == 200, answer.text
    assert len(answer.json["results"]) == rows


def test_the_next_page_keeps_what_narrows_and_nothing_else(listing):
    query = "username=nobody&username=student2&page_size=9&page_size=1&junk=1&cursor="
    address = urlsplit(listing.get(f"enrollments?{query}", listing.admin).json["next"])
    kept = parse_qs(address.query)
    assert kept.pop("cursor")
    assert kept == {"username": ["student2"], "page_size": ["1"]}


def test_a_hundred_and_one_names_are_refused_in_upstream_s_words(listing):
    answer = listing.get("enrollments?username=" + ",".join(["u"] * 101), listing.admin)
    words = "Too many usernames in a single request - 101. A maximum of 100 is allowed"
    assert answer.json["field_errors"]["username"]["developer_message"] == words


@pytest.mark.parametrize(
    "cursor",
    [
        "x",
        "!!!",
        "AAAA",
        "MQ",
        "OTk5OTk5OTk5OTk5OTk5OTk5OTkuMS4x",
        "LTEuMS4x",
        "%00",
        "MS4xLjE5OTk5OTk5OTk5OTk5OTk5OTk5",
    ],
)
def test_a_cursor_that_is_none_is_404_or_an_end_but_never_a_fault(listing, cursor):
    answer = listing.get(f"enrollments?cursor={cursor}", listing.admin)
    assert answer.status_code in {200, 404}, answer.text
    if answer.status_code == 404:
        assert answer.json["developer_message"] == "Invalid cursor"


@pytest.mark.parametrize("who", ["edx", "staff", "admin"])
def test_who_may_read_sees_everything(listing, who):
    everybody = {"student1", "student2", "student3", "staff", "another"}
    assert everybody <= set(names(listing, "page_size=1000", getattr(listing, who)))
