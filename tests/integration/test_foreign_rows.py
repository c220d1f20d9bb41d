"""Rows of other systems in the worker: translated together, judged like rows of our own."""

import csv
import io
import json
import random
from itertools import product

import pytest

from api_gateway import answers
from api_gateway.answers import Cursor, Filter
from enrollment.domain.codes import Code, IdKind, Lane, OnError, Reason
from enrollment.domain.crosswalks import Entry, Theirs
from enrollment.storage import crosswalks, migrate, submissions
from enrollment.storage.sessions import clock, sessions_for
from tests.integration.test_statements import statements
from tests.support.world import COURSE, OTHER, SERVER, World

CLOSED = "course-v1:Uni+Chemistry+2026"
HEAD = "course_id,user_id,role,status\n"


def save(world, *entries, source="canvas"):
    with world.sessions.begin() as session:
        crosswalks.merge(session, source, [Entry(*entry) for entry in entries])


def canvas(*rows):
    return (HEAD + "".join(f"{c},{u},{r},{s}\n" for c, u, r, s in rows)).encode()


def prepared(world):
    """Two courses, one more for the invited only, and their ids elsewhere."""
    world.course(modes=["audit", "verified"])
    world.course(OTHER)
    world.course(CLOSED, invite_only=True)
    save(
        world,
        (IdKind.COURSE, "MATH", COURSE),
        (IdKind.COURSE, "BIO", OTHER),
        (IdKind.COURSE, "CHEM", CLOSED),
        (IdKind.LEARNER, "4711", "ada"),
    )
    return world


@pytest.fixture
def mapped(world):
    return prepared(world)


@pytest.fixture
def reference(tmp_path):
    """A world of its own, in which the same is asked in JSON."""
    url = f"sqlite:///{tmp_path / 'reference.sqlite3'}"
    migrate.upgrade(url)
    sessions = sessions_for(url)
    yield prepared(World(sessions))
    sessions.dispose()


def test_the_crosswalk_counts_as_it_is_when_a_row_is_worked(mapped):
    file = mapped.send(canvas(("GEO", "4711", "student", "active")))
    save(mapped, (IdKind.COURSE, "GEO", OTHER))
    mapped.work()

    (outcome,) = mapped.outcomes(file)
    assert (outcome.user, outcome.course_id, outcome.code) == ("ada", OTHER, Code.ENROLLED)
    mapped.check()


def test_a_batch_takes_one_more_statement_for_its_ids_whatever_its_size(mapped):
    def told(prefix, number, head, row):
        text = head + "".join(row.format(f"{prefix}{n}") + "\n" for n in range(number))
        file = mapped.send(text.encode())
        (batch,) = mapped.batch_ids(file)
        with statements(mapped.sessions) as seen:
            mapped.deliver(batch)
        assert mapped.codes(file) == [Code.ENROLLED] * number
        return seen

    row = "MATH,{},student,active"
    few, many = told("a", 2, HEAD, row), told("b", 1_000, HEAD, row)
    native = told("c", 2, "user,course_id\n", "{}," + COURSE)

    assert many == few
    assert len(few) == len(native) + 1


def test_files_of_several_sources_that_are_taken_together_each_use_their_own(mapped):
    save(mapped, (IdKind.COURSE, "MATH", OTHER), source="other")
    files = [
        mapped.send(canvas(("MATH", "bob", "student", "active")), lane=Lane.INTERACTIVE, **options)
        for options in ({}, {"source": "other"}, {"source": "none"})
    ]
    mapped.work()

    found = [mapped.outcomes(file)[0] for file in files]
    assert [(one.course_id, one.code) for one in found] == [
        (COURSE, Code.ENROLLED),
        (OTHER, Code.ENROLLED),
        ("MATH", Code.INVALID),
    ]
    mapped.check()


def test_a_teacher_in_a_file_that_is_all_or_nothing_keeps_everybody_out(mapped):
    rows = [("MATH", "bob", "student", "active"), ("MATH", "cyd", "teacher", "active")]
    file = mapped.send(canvas(*rows), on_error=OnError.ABORT)
    mapped.work()

    assert [outcome.reason for outcome in mapped.outcomes(file)] == [
        Reason.ABORTED,
        Reason.INVALID_ROW,
    ]
    assert mapped.enrollments() == {}


def test_a_cancelled_file_names_the_ids_as_they_were_sent(mapped):
    file = mapped.send(canvas(("MATH", "4711", "student", "active")))
    with mapped.sessions.begin() as session:
        submissions.ask_cancel(session, file, None, now=clock(session))
    mapped.work()

    with mapped.sessions.read() as session:
        head = submissions.find(session, file)
        page = answers.outcomes_page(session, head, Cursor(), Filter(), limit=10)
    assert [(one.outcome.user, one.outcome.course_id) for one in page.answers] == [("4711", "MATH")]
    assert page.answers[0].row.cells == ["MATH", "4711", "student", "active"]


def test_a_line_that_means_many_is_cut_and_counted_by_its_requests(mapped):
    mapped.batch_rows = 4
    text = "username,course1,course2,course3\n" + "".join(f"u{n},MATH,BIO,NONE\n" for n in range(5))
    file = mapped.send(text.encode(), source="canvas")
    mapped.work()

    assert mapped.submission(file).total == 15
    assert [(one.line, one.code) for one in mapped.outcomes(file)] == [
        (line, code)
        for line, code in product(range(2, 7), [Code.ENROLLED, Code.ENROLLED, Code.INVALID])
    ]
    mapped.check()


def test_what_is_looked_for_is_found_by_source_kind_and_id(mapped):
    wanted = {
        Theirs("canvas", IdKind.COURSE, "MATH"),
        Theirs("canvas", IdKind.LEARNER, "MATH"),
        Theirs("other", IdKind.COURSE, "MATH"),
        Theirs("canvas", IdKind.LEARNER, "4711"),
        Theirs("canvas", IdKind.COURSE, '"x\\,{}'),
    }
    with mapped.sessions.read() as session:
        found = crosswalks.standing(session, wanted)

    assert found == {
        Theirs("canvas", IdKind.COURSE, "MATH"): COURSE,
        Theirs("canvas", IdKind.LEARNER, "4711"): "ada",
    }


# --- the same table in every format ------------------------------------------------------

FORMS = {
    "canvas": (
        ["user_id", "course_id", "role", "status"],
        lambda u, c, a: [u, c, "student", "active" if a else "deleted"],
    ),
    "oneroster": (
        ["sourcedId", "userSourcedId", "classSourcedId", "role", "status"],
        lambda u, c, a: ["e", u, c, "student", "" if a else "tobedeleted"],
    ),
    "registrar": (
        ["student_key", "course_id", "status"],
        lambda u, c, a: [u, c, "active" if a else "inactive"],
    ),
    "d2l": (
        ["type", "action", "child_code", "role_name", "parent_code"],
        lambda u, c, a: ["enrollment", "" if a else "DELETE", u, "Learner", c],
    ),
    "blackboard": (
        ["external_person_key", "external_course_key", "row_status"],
        lambda u, c, a: [u, c, "ENABLED" if a else "DISABLED"],
    ),
    "moodle_flat": (None, lambda u, c, a: ["add" if a else "del", "student", u, c]),
    "moodle_users": (
        ["username", "course1", "enrolstatus1"],
        lambda u, c, a: [u, c, "0" if a else "1"],
    ),
    "native": (["user", "course_id", "is_active"], lambda u, c, a: [u, c, str(a).lower()]),
}


def table(seed):
    """Any rows: known and unknown ids, empty cells, coming and going."""
    rng = random.Random(seed)
    courses = ["MATH", "BIO", "CHEM", COURSE, "a/b/c", "NONE", ""]
    users = ["4711", "bob", "cyd", "a;b", ""]
    rows = [(rng.choice(users), rng.choice(courses), rng.random() < 0.7) for _ in range(40)]
    return [row for row in rows if row[0] or row[1]]


def written(name, rows):
    header, row = FORMS[name]
    text = io.StringIO(newline="")
    csv.writer(text).writerows(([header] if header else []) + [row(*one) for one in rows])
    return text.getvalue().encode()


def came_of(world, file):
    return [
        (one.user, one.course_id, one.code, one.reason, one.mode, one.is_active)
        for one in world.outcomes(file)
    ]


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize("seed", range(3))
def test_a_table_comes_to_the_same_in_every_format_as_in_json(mapped, reference, name, seed):
    rows = table(seed)
    lines = [json.dumps({"user": u, "course_id": c, "is_active": a}) for u, c, a in rows]
    how = {"caller": SERVER, "source": "canvas"}
    as_json = reference.send("\n".join(lines).encode(), media_type="application/x-ndjson", **how)
    file = mapped.send(written(name, rows), **how)
    reference.work()
    mapped.work()

    assert mapped.submission(file).format == name
    assert came_of(mapped, file) == came_of(reference, as_json)
    assert mapped.enrollments() == reference.enrollments()
    mapped.check()
