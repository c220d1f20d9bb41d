"""The page on the HTTP API has an example of each route, `.env.example` each setting."""

import re
import shlex
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from falcon.routing import CompiledRouter

from api_gateway.auth.permissions import PERMISSIONS
from api_gateway.cli.remote.courses import COURSE_CSV_COLUMNS
from api_gateway.routes import BASE, BASE_V2, ROUTES
from enrollment.runtime.setting_names import VARIABLES
from schemas.courses import CourseSchema, ModeSchema
from schemas.invitations import InvitationSchema
from schemas.learners import LearnerSchema
from tests.support.documented import commands_of

ROOT = Path(__file__).parents[2]
COURSES = (ROOT / "docs" / "courses.md").read_text()
#: The variables of the page that URLs begin with.
PLACES = {"$API": BASE, "$V2": BASE_V2, "$ROOT": ""}
#: Options of curl that make a request a POST without `-X`.
BODIES = {"-d", "--data", "--data-binary", "-F"}


def requests_in(page):
    """(method, path) of each curl command of a page."""
    for command in commands_of(page):
        words = shlex.split(command.partition(" | ")[0])
        if words[:1] == ["curl"]:
            method = words[words.index("-X") + 1] if "-X" in words else "GET"
            assert method != "GET" or not BODIES & set(words), command
            (url,) = (word for word in words if word.startswith(tuple(PLACES)))
            for variable, place in PLACES.items():
                url = url.replace(variable, place)
            path = urlsplit(url).path.rstrip("/")
            yield method, path.replace("$GEO", "course-v1:a+b+c").replace("$ID", "1")


def route_of(path):
    router = CompiledRouter()
    names = {}
    for name, template in ROUTES.items():
        router.add_route(template, object())
        names[template] = name
    return names[router.find(path)[3]]


def test_every_route_and_method_has_an_example():
    shown = {(route_of(path), method) for method, path in requests_in("api.md")}

    assert shown == set(PERMISSIONS)


def members_in(heading):
    """The names in the first column of the table with this heading."""
    table = COURSES[COURSES.index(f"| {heading} |") :].partition("\n\n")[0]
    cells = [line.split("|")[1] for line in table.splitlines()[2:]]
    return {name for cell in cells for name in re.findall(r"`(\w+)`", cell)}


def test_every_member_of_a_course_is_explained():
    assert members_in("member") == set(CourseSchema().fields)
    assert members_in("member of a mode") == set(ModeSchema().fields)


@pytest.mark.parametrize("schema", [LearnerSchema, InvitationSchema])
def test_members_of_learners_and_invitations_are_explained(schema):
    assert all(f"| `{name}` |" in COURSES for name in schema().fields)


def test_every_member_of_a_course_has_a_column():
    members = {column.member for column in COURSE_CSV_COLUMNS.values()}

    assert members == set(CourseSchema().fields) - {"seats_taken"}


def test_the_sample_environment_has_every_setting_commented_out():
    lines = (ROOT / ".env.example").read_text().splitlines()
    settings = [line for line in lines if re.match(r"#?ENROLL_", line)]

    assert [line.partition("=")[0] for line in settings] == [f"#{name}" for name in VARIABLES]
    for name, meaning in VARIABLES.items():
        assert f"# {meaning}" in lines, name
    assert all(line == "" or line.startswith("#") for line in lines)
