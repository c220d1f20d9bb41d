"""Precedences, course keys and rights; the domain imports the standard library only."""

import ast
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from enrollment import domain
from enrollment.domain.codes import CallerKind
from enrollment.domain.course_keys import MAX_COURSE_ID, CourseKey, parse_course_key
from enrollment.domain.model import EPOCH, RIGHTS, microseconds, precedence_of
from tests.unit.domain.builders import MOMENT, NOON

SOURCES = sorted(Path(domain.__file__).parent.rglob("*.py"))


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_the_domain_imports_the_standard_library_only(source):
    imported = set()
    for node in ast.walk(ast.parse(source.read_text())):
        if isinstance(node, ast.Import):
            imported |= {name.name for name in node.names}
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0
            imported.add(node.module)

    outside = {name for name in imported if name.split(".")[0] not in sys.stdlib_module_names}
    assert all(name.startswith("enrollment.domain") for name in outside), outside


def test_a_clock_counts_whole_microseconds():
    assert microseconds(EPOCH) == 0
    assert microseconds(EPOCH + timedelta(days=1, microseconds=1)) == 86_400_000_001
    assert microseconds(NOON + MOMENT) == microseconds(NOON) + 1


def a_precedence(*, at=NOON, stated=True, intake=5, line=5):
    return precedence_of(at, stated=stated, intake=intake, line=line)


@pytest.mark.parametrize(
    ("lower", "higher"),
    [
        pytest.param({"at": NOON}, {"at": NOON + MOMENT}, id="asked-later"),
        pytest.param({"intake": 6}, {"intake": 5}, id="stated-and-taken-in-earlier"),
        pytest.param({"line": 5}, {"line": 6}, id="stated-on-a-later-line"),
        pytest.param({"intake": 6, "line": 9}, {"intake": 5, "line": 1}, id="intake-before-line"),
        pytest.param(
            {"stated": False, "intake": 5}, {"stated": False, "intake": 6}, id="taken-in-later"
        ),
        pytest.param({"stated": False, "line": 5}, {"stated": False, "line": 6}, id="later-line"),
        pytest.param(
            {"stated": False, "intake": 5}, {"stated": True, "intake": 6}, id="stated-afterwards"
        ),
        pytest.param(
            {"at": NOON, "stated": True, "intake": 1},
            {"at": NOON + MOMENT, "stated": False, "intake": 9},
            id="asked-later-before-all-else",
        ),
    ],
)
def test_wishes_have_one_order(lower, higher):
    assert a_precedence(**lower) < a_precedence(**higher)


@pytest.mark.parametrize(
    ("text", "key"),
    [
        pytest.param("course-v1:edX+DemoX+2026", ("edX", "DemoX", "2026"), id="modern"),
        pytest.param("edX/DemoX/Demo_Course", ("edX", "DemoX", "Demo_Course"), id="legacy"),
        pytest.param("course-v1:a.b+c-d+e~f", ("a.b", "c-d", "e~f"), id="signs"),
        pytest.param("course-v1:Universität+数学+1", ("Universität", "数学", "1"), id="unicode"),
        pytest.param("", None, id="empty"),
        pytest.param("1", None, id="digit"),
        pytest.param("invalidcourse", None, id="word"),
        pytest.param("a+b+c", None, id="no-prefix"),
        pytest.param("course-v1:a+b", None, id="no-run"),
        pytest.param("course-v1:a+b+c+d", None, id="four-parts"),
        pytest.param("course-v1:a+b+", None, id="empty-run"),
        pytest.param("course-v1:a/b/c", None, id="modern-prefix-legacy-signs"),
        pytest.param("a/b", None, id="legacy-without-run"),
        pytest.param("a/b/c/", None, id="slash-at-the-end"),
        pytest.param("a/b c/d", None, id="space"),
        pytest.param("course-v1:a+b+c\n", None, id="line-end"),
        pytest.param("library-v1:a+b", None, id="library"),
    ],
)
def test_a_course_key_has_three_parts(text, key):
    assert parse_course_key(text) == (None if key is None else CourseKey(*key))


def test_a_course_key_has_its_greatest_length():
    longest = "course-v1:a+b+" + "c" * (MAX_COURSE_ID - 14)

    assert parse_course_key(longest) is not None
    assert parse_course_key(longest + "c") is None


@pytest.mark.parametrize(
    ("kind", "may"),
    [
        (CallerKind.LEARNER, set()),
        (CallerKind.SERVER, {"deactivate", "change_mode", "use_expired"}),
        (CallerKind.STAFF, {"deactivate", "change_mode", "force", "state_time"}),
        (
            CallerKind.ADMIN,
            {"deactivate", "change_mode", "use_expired", "force", "state_time"},
        ),
    ],
)
def test_callers_may_do_what_upstream_lets_them(kind, may):
    assert {right for right, given in RIGHTS[kind]._asdict().items() if given} == may
