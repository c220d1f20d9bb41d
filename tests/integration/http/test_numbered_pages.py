"""GET /enrollments of version 2: all enrollments in numbered pages, which reach any depth."""

from urllib.parse import parse_qs, urlsplit

import pytest

from api_gateway.resources.openedx_v2 import all_enrollments, enrollment_counts
from api_gateway.resources.openedx_v2.enrollment_counts import EnrollmentCounts
from enrollment.storage.views.enrollment_views import EnrollmentFilters
from tests.support.gateway import AUDIT
from tests.support.statements import recorded_statements

V2 = "/api/enrollment/v2/enrollments"
BIG, SMALL = "course-v1:e+d+X", "course-v1:x+y+Z"
NAMES = [f"student{number}" for number in range(7)]


@pytest.fixture(scope="module")
def listing(gateway):
    """Nothing but nine enrollments: seven in one course, two in another, one of them inactive."""
    for course_id in (BIG, SMALL):
        gateway.course(AUDIT, course_id=course_id)
    for name in NAMES:
        gateway.call("PUT", f"learners/{name}", gateway.admin, json={"email": f"{name}@x.org"})
    gateway.submit("user,course_id\n" + "".join(f"{name},{BIG}\n" for name in NAMES))
    gateway.enroll(gateway.admin, SMALL, NAMES[0], is_active=False)
    gateway.enroll(gateway.admin, SMALL, NAMES[1])
    return gateway


@pytest.fixture(scope="module")
def everything(listing):
    """All nine rows as version 1 lists them."""
    return listing.get("enrollments", listing.admin).json["results"]


def page(gateway, query="", status=200):
    answer = gateway.get(f"{V2}?{query}", gateway.admin)
    assert answer.status_code == status, answer.text
    return answer


def test_a_page_has_seven_members_and_flat_rows(listing, everything):
    shown = page(listing).json
    members = ["count", "num_pages", "current_page", "start", "next", "previous", "results"]
    assert list(shown) == members
    assert shown["results"] == everything
    assert [shown[name] for name in members[:6]] == [9, 1, 1, 0, None, None]


@pytest.mark.parametrize("size", [1, 2, 3, 4, 9])
def test_pages_by_number_are_those_of_the_whole_list(listing, everything, size):
    pages = -(-9 // size)
    for number in range(1, pages + 1):
        shown = page(listing, f"page={number}&page_size={size}").json
        start = (number - 1) * size
        assert shown["results"] == everything[start : start + size]
        assert (shown["count"], shown["num_pages"]) == (9, pages)
        assert (shown["current_page"], shown["start"]) == (number, start)
        assert (shown["next"] is None) is (number == pages)
        assert (shown["previous"] is None) is (number == 1)
    assert (
        page(listing, f"page={pages + 1}&page_size={size}", 404)
        .json["detail"]
        .startswith("Invalid page.")
    )


def followed(gateway, query, limit=20):
    """Returns the rows of all pages, by their links."""
    found, shown = [], page(gateway, query).json
    for _ in range(limit):
        found += shown["results"]
        if shown["next"] is None:
            return found
        address = urlsplit(shown["next"])
        assert address.path == V2
        number = shown["current_page"] + 1
        shown = page(gateway, address.query).json
        assert (shown["current_page"], shown["start"]) == (number, len(found))
    raise AssertionError


@pytest.mark.parametrize("filters", ["", "username=student0,student1&", "course_key=" + BIG + "&"])
@pytest.mark.parametrize("size", [1, 2, 5])
def test_links_lead_deeper_than_numbers(listing, everything, monkeypatch, filters, size):
    monkeypatch.setattr(all_enrollments, "MAX_SKIPPED_ROWS", 2)
    expected = page(listing, f"{filters}page_size=100").json["results"]
    assert followed(listing, f"{filters}page_size={size}") == expected


def test_a_page_too_deep_for_its_number_says_how_to_get_there(listing, monkeypatch):
    monkeypatch.setattr(all_enrollments, "MAX_SKIPPED_ROWS", 4)
    assert page(listing, "page=5&page_size=1").json["start"] == 4
    refused = page(listing, "page=6&page_size=1", 400)
    assert refused.headers["content-type"] == "application/problem+json"
    assert (refused.json["code"], refused.json["errors"][0]["expected"]) == (
        "invalid_parameter",
        "1 to 5",
    )
    for way in ("`next`", "filter", "/api/enrollment/v1/enrollments"):
        assert way in refused.json["detail"]


def test_no_link_leads_to_an_error(listing, monkeypatch):
    monkeypatch.setattr(all_enrollments, "MAX_SKIPPED_ROWS", 2)
    seen, shown = set(), page(listing, "page_size=1").json
    while shown["next"]:
        for link in filter(None, (shown["previous"], shown["next"])):
            seen.add(link)
            page(listing, urlsplit(link).query)
        shown = page(listing, urlsplit(shown["next"]).query).json
    assert len(seen) > 8


def test_a_cursor_tells_its_page_and_is_left_out_for_another_one(listing, everything):
    link = page(listing, "page_size=2").json["next"]
    cursor = parse_qs(urlsplit(link).query)["cursor"][0]
    by_cursor = page(listing, f"page_size=2&cursor={cursor}").json
    assert by_cursor["current_page"] == 2
    assert by_cursor["results"] == everything[2:4]
    other = page(listing, f"page_size=2&page=4&cursor={cursor}").json
    assert (other["current_page"], other["results"]) == (4, everything[6:8])


@pytest.mark.parametrize(
    "cursor", ["x", "!!!", "AAAA", "MQ", "MS4x", "MC4xLjEuMQ", "LTEuMS4x", "%00", "Mi54LjEuMQ"]
)
def test_a_cursor_that_is_none_is_404(listing, cursor):
    assert page(listing, f"cursor={cursor}", 404).json["code"] == "invalid_parameter"


FILTERED = [
    (f"course_key={BIG}", 7, False),
    (f"course_key={SMALL}", 2, False),
    (f"course_keys={BIG},{SMALL}", 9, False),
    ("course_keys=e%2Bd", 7, False),
    (f"course_id={SMALL}", 2, True),
    ("course_ids=x%2By%2BZ,e%2Bd%2BX", 9, True),
    ("username=student1", 2, False),
    (f"username=student1&course_key={SMALL}", 1, False),
    (f"username=student5&course_key={SMALL}", 0, False),
    ("email=student0@x.org,student2@x.org", 3, False),
    ("username=nobody", 0, False),
    ("course_key=course-v1:No+Such+One", 0, False),
]


@pytest.mark.parametrize(("query", "number", "is_old"), FILTERED)
def test_filters_by_their_new_names_and_by_the_deprecated_ones(listing, query, number, is_old):
    for size in (100, 1):
        answer = page(listing, f"{query}&page_size={size}")
        assert answer.json["count"] == number
        assert len(answer.json["results"]) == min(size, number)
        assert ("deprecation" in answer.headers) is is_old


@pytest.mark.parametrize(
    ("query", "field", "is_old"),
    [
        ("course_key=1", "course_key", False),
        ("course_id=1", "course_id", True),
        ("course_keys=", "course_keys", False),
        ("course_keys=" + ",".join(["a"] * 101), "course_keys", False),
        ("username=1*2", "username", False),
        ("user=student1", "user", False),
        ("course_kye=1", "course_kye", False),
        (f"course_key={BIG}&course_id={SMALL}", "course_id", True),
    ],
)
def test_a_filter_that_cannot_be_read_is_400_and_lists_nothing(listing, query, field, is_old):
    refused = page(listing, query, 400)
    assert refused.headers["content-type"] == "application/problem+json"
    assert [one["field"] for one in refused.json["errors"]] == [field]
    assert "results" not in refused.json
    assert ("deprecation" in refused.headers) is is_old


def test_who_may_not_list_everything_is_403(listing):
    for who in (listing.learner(NAMES[0]), listing.server):
        refused = listing.get(V2, who)
        assert refused.status_code == 403
        assert "results" not in refused.json
    assert listing.get(V2).status_code == 401


# --- the count ----------------------------------------------------------------------------


def counted(statements):
    return sum("count(" in one for one in statements)


def test_a_large_number_is_counted_once_in_half_a_minute(listing, monkeypatch):
    times = [0.0]
    counts = EnrollmentCounts(lambda: times[0])
    monkeypatch.setattr(enrollment_counts, "MIN_KEPT_COUNT", 9)
    none = EnrollmentFilters()
    with listing.sessions.read() as session, recorded_statements(listing.sessions.engine) as seen:
        assert counts.count(session, none, at_least=0) == 9
        assert counts.count(session, none, at_least=0) == 9
        assert counts.count(session, none, at_least=12) == 12
        assert counted(seen) == 1
        assert counts.count(session, EnrollmentFilters((SMALL,)), at_least=0) == 2
        assert counted(seen) == 2
        times[0] = enrollment_counts.COUNT_SECONDS
        assert counts.count(session, none, at_least=0) == 9
        assert counted(seen) == 3


def test_a_small_number_is_counted_each_time_and_the_last_page_needs_no_count(listing):
    counts = EnrollmentCounts(lambda: 0.0)
    with listing.sessions.read() as session, recorded_statements(listing.sessions.engine) as seen:
        for _ in range(2):
            assert counts.count(session, EnrollmentFilters(), at_least=0) == 9
        assert counted(seen) == 2
    with recorded_statements(listing.parts.lists.sessions.engine) as seen:
        page(listing, "page_size=9")
        page(listing, "page=3&page_size=4")
        assert counted(seen) == 0
        page(listing, "page_size=4")
        assert counted(seen) == 1
