"""The courses in the form of the Open edX courses API, in numbered pages."""

from datetime import UTC, datetime

import pytest

from tests.support.gateway import VERIFIED

PATH = "/api/courses/v1/courses"
MAY = datetime(2026, 5, 1, tzinfo=UTC)


def page(gateway, query="", path=PATH, status=200):
    answer = gateway.get(f"{path}?{query}", gateway.learner("ann"))
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    return answer.json


def ids(found):
    return [one["id"] for one in found["results"]]


def test_without_courses_there_is_one_empty_page(alone):
    empty = {"next": None, "previous": None, "count": 0, "num_pages": 1}
    assert page(alone) == {"results": [], "pagination": empty}
    assert page(alone, "page=2", status=404)["message"] == "Invalid page."


@pytest.mark.parametrize("path", [PATH, PATH + "/"])
def test_callers_read_courses_as_clients_expect_them(alone, path):
    alone.course(
        VERIFIED,
        course_id="course-v1:Uni+ALG+2026",
        name="Algebra",
        enrollment_start=MAY,
        course_start=MAY,
        invite_only=True,
    )
    alone.course(course_id="Uni/BOT/1", self_paced=True, course_end=MAY, enrollment_end=MAY)
    found = page(alone, path=path)
    assert found["pagination"] == {"next": None, "previous": None, "count": 2, "num_pages": 1}
    by_id = {one["id"]: one for one in found["results"]}
    assert by_id["course-v1:Uni+ALG+2026"] == {
        "id": "course-v1:Uni+ALG+2026",
        "course_id": "course-v1:Uni+ALG+2026",
        "name": "Algebra",
        "org": "Uni",
        "number": "ALG",
        "start": "2026-05-01T00:00:00Z",
        "end": None,
        "enrollment_start": "2026-05-01T00:00:00Z",
        "enrollment_end": None,
        "pacing": "instructor",
        "invitation_only": True,
    }
    assert by_id["Uni/BOT/1"]["pacing"] == "self"
    assert by_id["Uni/BOT/1"]["end"] == by_id["Uni/BOT/1"]["enrollment_end"]


def test_links_lead_through_all_pages_and_keep_the_parameters(alone):
    wanted = sorted(f"course-v1:Uni+C{number}+1" for number in range(5))
    for course_id in [*wanted, "course-v1:uni+X+1", "course-v1:Unity+X+1"]:
        alone.course(course_id=course_id)
    url, seen, pages = f"{PATH}/?page_size=2&org=Uni&other=x", [], 0
    while url is not None:
        found = alone.get(url.replace("http://falconframework.org", ""), alone.edx).json
        assert (found["pagination"]["count"], found["pagination"]["num_pages"]) == (5, 3)
        seen += ids(found)
        pages += 1
        last, url = found, found["pagination"]["next"]
    assert (seen, pages) == (wanted, 3)
    previous = last["pagination"]["previous"]
    assert previous.startswith("http")
    assert previous.endswith("org=Uni&page_size=2&page=2")


def test_page_sizes_are_bounded_and_wrong_ones_mean_the_default(alone):
    for number in range(103):
        alone.course(course_id=f"course-v1:Uni+C{number:03}+1")
    sizes = {"": 10, "page_size=3": 3, "page_size=1000": 100, "page_size=0": 10, "page_size=x": 10}
    assert {query: len(ids(page(alone, query))) for query in sizes} == sizes
    assert len(ids(page(alone, "page_size=100&page=2"))) == 3


@pytest.mark.parametrize("number", ["0", "2", "-1", "x", "9" * 30, "%00"])
def test_a_page_that_is_none_is_404(alone, number):
    alone.course()
    assert page(alone, f"page={number}", status=404)["detail"] == "Invalid page."


def test_an_organization_without_courses_has_none(alone):
    alone.course()
    for org in ("un", "Uni+", "%00", "Un_"):
        assert page(alone, f"org={org}")["pagination"]["count"] == 0
    assert page(alone, "org=")["pagination"]["count"] == 1


@pytest.mark.parametrize("key", ["course-v1:Uni+LAW+2026", "course-v1%3AUni%2BLAW%2B2026/"])
def test_one_course_is_as_in_the_list(alone, key):
    alone.course(course_id="course-v1:Uni+LAW+2026", name="Law", course_start=MAY)

    assert page(alone, path=f"{PATH}/{key}") == page(alone)["results"][0]


def test_a_course_that_is_none_is_404_and_no_key_is_400(alone):
    assert page(alone, path=f"{PATH}/course-v1:Uni+NO+1", status=404)["code"] == "course_not_found"
    assert page(alone, path=f"{PATH}/nonsense", status=400)["code"] == "invalid_course_id"
