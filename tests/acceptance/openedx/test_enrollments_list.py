"""4j: enrollments, for administrators. A number is that of the conformance table."""

import re
from typing import Any, NamedTuple

import pytest

from tests.support.openedx_client import ANONYMOUS, OpenEdxClient, as_learner, email_of, ok

UNKNOWN_USER, UNKNOWN_COURSE = "a_made_up_username", "course-v1:made+up+course"


class Rows(NamedTuple):
    """Five enrollments: three in the first course, two in the second."""

    big: str
    small: str
    users: tuple[str, str, str]

    def fill(self, text: str) -> str:
        names = {"BIG": self.big, "SMALL": self.small}
        names |= {f"U{number}": user for number, user in enumerate(self.users, 1)}
        names |= {f"E{number}": email_of(user) for number, user in enumerate(self.users, 1)}
        return re.sub(r"BIG|SMALL|[UE][123]", lambda name: names[name.group()], text)


@pytest.fixture
def rows(edx) -> Rows:
    """The fifth row is inactive: they are listed as well."""
    big, small = edx.course(org=f"x{edx.word}"), edx.course(org=f"e{edx.word}")
    made = Rows(big, small, (edx.learner(), edx.learner(), edx.learner()))
    one, two, three = made.users
    for course, user in ((big, two), (big, three), (small, one), (small, three)):
        edx.enrolled(course, user)
    edx.enrolled(big, one, is_active=False)
    return made


def found(client: OpenEdxClient, **filters: object) -> list[dict[str, Any]]:
    answer = ok(client.get("/enrollments", client.staff(), **filters))
    assert list(answer) == ["next", "previous", "results"]
    return answer["results"]


def pairs(results: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return sorted((row["course_id"], row["user"]) for row in results)


@pytest.mark.parametrize("path", ["/enrollments", "/enrollments/"])
def test_111_without_credentials_it_is_401(edx, path):
    assert edx.get(path, ANONYMOUS).status_code == 401


def test_112_a_learner_is_refused(edx):
    refused = edx.get("/enrollments", as_learner(edx.learner()))
    assert refused.status_code == 403
    assert "results" not in refused.json()


@pytest.mark.parametrize(
    ("filters", "fields"),
    [
        pytest.param({"course_id": "1"}, {"course_id"}, id="113"),
        pytest.param({"course_id": "1", "username": "U1"}, {"course_id"}, id="114"),
        pytest.param({"username": "1*2"}, {"username"}, id="115"),
        pytest.param({"course_id": "BIG", "username": "1*2"}, {"username"}, id="116"),
        pytest.param({"course_id": "1", "username": "1*2"}, {"course_id", "username"}, id="117"),
        pytest.param(
            {"username": ",".join(f"u{number}" for number in range(101))}, {"username"}, id="118"
        ),
    ],
)
def test_a_value_that_cannot_be_read_is_400(edx, rows, filters, fields):
    given = {name: rows.fill(text) if len(text) < 99 else text for name, text in filters.items()}
    refused = edx.get("/enrollments", edx.staff(), **given)
    assert refused.status_code == 400
    errors = refused.json()["field_errors"]
    assert set(errors) == fields
    assert all(error["developer_message"] for error in errors.values())


@pytest.mark.parametrize(
    "filters",
    [
        pytest.param({"username": UNKNOWN_USER}, id="119"),
        pytest.param({"username": UNKNOWN_USER, "course_id": "BIG"}, id="120"),
        pytest.param({"course_id": UNKNOWN_COURSE}, id="121"),
        pytest.param({"course_id": UNKNOWN_COURSE, "username": "U1"}, id="122"),
        pytest.param({"course_id": UNKNOWN_COURSE, "username": UNKNOWN_USER}, id="123"),
    ],
)
def test_of_the_unknown_there_are_none(edx, rows, filters):
    given = {name: rows.fill(text) for name, text in filters.items()}
    answer = ok(edx.get("/enrollments", edx.staff(), **given))
    assert answer == {"next": None, "previous": None, "results": []}


ALL_BIG, ALL_SMALL = ["BIG U1", "BIG U2", "BIG U3"], ["SMALL U1", "SMALL U3"]


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        pytest.param({"course_id": "SMALL"}, ALL_SMALL, id="124"),
        pytest.param({"course_id": "BIG"}, ALL_BIG, id="125"),
        pytest.param({"course_id": "BIG", "username": "U2,U3"}, ["BIG U2", "BIG U3"], id="126"),
        pytest.param({"course_id": "SMALL", "username": "U1,U2"}, ["SMALL U1"], id="127"),
        pytest.param({"username": "U2,U3"}, ["BIG U2", "BIG U3", "SMALL U3"], id="128"),
        pytest.param({"email": "E2"}, ["BIG U2"], id="129"),
        pytest.param({"email": "E2,E3"}, ["BIG U2", "BIG U3", "SMALL U3"], id="130"),
        pytest.param({"email": "E3", "course_id": "SMALL"}, ["SMALL U3"], id="131"),
        pytest.param(
            {"course_ids": "BIG,SMALL", "username": "U1,U2"},
            ["BIG U1", "BIG U2", "SMALL U1"],
            id="134",
        ),
    ],
)
def test_filters_hold_together(edx, rows, filters, expected):
    given = {name: rows.fill(text) for name, text in filters.items()}
    wanted = [tuple(rows.fill(row).split()) for row in expected]
    assert pairs(found(edx, **given)) == sorted(wanted)


def test_132_without_a_filter_everything_is_listed_newest_first(edx, rows):
    newest = found(edx)[:5]
    assert {row["course_id"] for row in newest} == {rows.big, rows.small}
    assert newest == sorted(newest, key=lambda row: row["created"], reverse=True)


def test_133_course_ids_may_lack_their_prefix(edx, rows):
    bare = rows.small.removeprefix("course-v1:")
    assert len(found(edx, course_ids=f"{rows.big},{bare}")) == 5


def test_135_each_row_has_five_members_and_a_time_in_utc(edx, rows):
    for row in found(edx, course_id=rows.big):
        assert set(row) == {"course_id", "is_active", "mode", "user", "created"}
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{6})?Z", row["created"])
