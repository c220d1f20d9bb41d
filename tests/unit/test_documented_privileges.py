"""docs/openedx-compatibility.md says who may what as the table of relations does."""

import re

import pytest

from api_gateway.routes import ROUTES, V1
from tests.support.relations.documented import privilege_lines, who_may
from tests.support.relations.openedx_routes import OPENEDX
from tests.unit.test_docs import ROOT, section

PAGE = (ROOT / "docs" / "openedx-compatibility.md").read_text()
ROW = re.compile(r"^\| ([A-Z, ]+) \| `([^`]+)` \| (.+) \|$", re.MULTILINE)

#: Methods by (path, words for the callers).
DOCUMENTED = {
    (path, who): set(methods.split(", "))
    for methods, path, who in ROW.findall(section(PAGE, "## Routes"))
}


def path_of(key):
    """The path as the page writes it."""
    names = "{course_id}" if key.form == "of the caller" else "{username},{course_id}"
    return ROUTES[key.route].replace("{names:path}", names).replace(":path", "")


def test_the_privileges_on_the_page_are_those_of_the_table():
    lines = [line for line in section(PAGE, "## Privileges").splitlines() if line.startswith("|")]

    assert lines == [*privilege_lines()]


@pytest.mark.parametrize("key", OPENEDX, ids=str)
def test_the_page_lists_each_route_of_open_edx_with_its_callers(key):
    if (key.route, key.form) == ("enrollment", "of the caller"):
        return  # the same path; it is listed for any caller
    assert key.method in DOCUMENTED.get((path_of(key), who_may(key)), ())


def test_the_page_lists_no_other_routes():
    known = {(path_of(key), key.method) for key in OPENEDX}

    assert {(path, method) for (path, _), methods in DOCUMENTED.items() for method in methods} == (
        known
    )
    assert {ROUTES[key.route] for key in OPENEDX} >= V1
