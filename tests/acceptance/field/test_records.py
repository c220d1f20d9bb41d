"""Several records for one enrollment: who is kept by one of them stays, in any order of the rows."""

from itertools import permutations

import pytest

from tests.support.field_client import zipped
from tests.support.service_processes import needs_proc

pytestmark = needs_proc

CANVAS = "course_id,user_id,role,section_id,status\n"
ONEROSTER = "sourcedId,status,classSourcedId,userSourcedId,role\n"
BLACKBOARD = "EXTERNAL_COURSE_KEY|EXTERNAL_PERSON_KEY|ROLE|ROW_STATUS\n"
KEPT = "unchanged kept_by_other_record"
#: The rows of a section change: into section B, out of section A.
INTO, OUT = (
    "MATH-101,bo{{T}},student,MATH-101.B,active\n",
    "MATH-101,bo{{T}},student,MATH-101.A,deleted\n",
)
ORDERS = {"the new row first": (INTO, OUT), "the new row last": (OUT, INTO)}
WAYS = {"continue": {}, "abort": {"on_error": "abort"}, "dry run": {"dry_run": "true"}}
#: More than one batch of rows.
MANY = 1_100


def others(name, count=MANY):
    return "".join(f"BIO-7,{name}{{{{T}}}}{n},student,,active\n" for n in range(count))


@pytest.fixture
def bo(field):
    """A learner who is enrolled by a record of section A."""
    sent = field.send(f"{CANVAS}MATH-101,bo{{{{T}}}},student,MATH-101.A,active\n")
    assert sent.said == ["enrolled"]
    return field.fill("bo{{T}}")


def expected(rows):
    return [KEPT if "deleted" in row else "unchanged" for row in rows]


@pytest.mark.parametrize("options", WAYS.values(), ids=WAYS.keys())
@pytest.mark.parametrize("rows", ORDERS.values(), ids=ORDERS.keys())
def test_a_section_change_keeps_the_learner(field, bo, rows, options):
    sent = field.send(CANVAS + "".join(rows), **options)

    assert sent.said == expected(rows)
    assert sent.submission["result"] == "succeeded"
    assert field.is_enrolled(bo)


@pytest.mark.parametrize("options", WAYS.values(), ids=WAYS.keys())
@pytest.mark.parametrize("rows", ORDERS.values(), ids=ORDERS.keys())
def test_a_section_change_over_a_border_of_batches_keeps_the_learner(field, bo, rows, options):
    first, second = rows
    file = CANVAS + others("a", 5) + first + others("b") + second + others("c", 5)

    sent = field.send(file, **options)

    assert sent.of(bo) == expected(rows)
    assert sent.submission["counts"]["enrolled"] == MANY + 10
    assert field.is_enrolled(bo)
    changes = field.http.get(f"/enrollment/{bo},{field.fill('{{C1}}')}/history").json()["events"]
    assert len(changes) == 1  # never withdrawn and taken back


@pytest.mark.parametrize(("good", "bad"), [(0, 0), (0, MANY), (MANY, 0)])
def test_a_failed_row_of_an_all_or_nothing_file_changes_no_record(field, bo, good, bad):
    failing = "MATH-101,cy{{T}},student,,nonsense\n"
    file = CANVAS + INTO + others("a", bad) + failing + others("b", good) + OUT

    sent = field.send(file, on_error="abort")

    assert sent.of(bo) == ["refused aborted"] * 2
    assert sent.submission["result"] == "failed"
    assert field.is_enrolled(bo)


@pytest.mark.parametrize("options", [{}, {"on_error": "abort"}], ids=["continue", "abort"])
def test_the_end_of_the_only_record_withdraws(field, bo, options):
    rehearsed = field.send(CANVAS + OUT, dry_run="true")
    assert (rehearsed.said, field.is_enrolled(bo)) == (["deactivated"], True)

    sent = field.send(CANVAS + OUT, **options)

    assert (sent.said, field.is_enrolled(bo)) == (["deactivated"], False)


NOT_KEPT = {
    "a log that ends": [INTO, INTO.replace("active", "deleted"), OUT],
    "a row that is not current": [
        "course_id,user_id,role,section_id,status,end_date\n",
        INTO.replace("active\n", "active,2020-01-01\n"),
        OUT.replace("\n", ",\n"),
    ],
    "a row about a teacher": [INTO.replace("student", "teacher"), OUT],
    "a row that cannot be read": [INTO.replace("active", "actve"), OUT],
    "another learner": [INTO.replace("bo", "cy"), OUT],
    "another course": [INTO.replace("MATH-101,", "BIO-7,"), OUT],
}


@pytest.mark.parametrize("rows", NOT_KEPT.values(), ids=NOT_KEPT.keys())
def test_what_keeps_nobody(field, bo, rows):
    head = "" if rows[0].startswith("course_id") else CANVAS

    sent = field.send(head + "".join(rows))

    assert "deactivated" in sent.said
    assert KEPT not in sent.said
    assert field.is_enrolled(bo) is False


def test_of_a_log_about_one_record_the_last_row_counts(field, bo):
    again = OUT.replace("deleted", "active")

    sent = field.send(CANVAS + OUT + again)

    assert sent.said == ["deactivated", "reactivated"]
    assert field.is_enrolled(bo)


SYSTEMS = {
    "oneroster": (ONEROSTER, ["e1,active,CLS1,di{{T}},student", "e1,tobedeleted,CLS1,di{{T}},student"],
                  "e2,,MATH-101,di{{T}},student"),
    "blackboard": (BLACKBOARD, ["CLS1|di{{T}}|S|ENABLED", "CLS1|di{{T}}|S|DISABLED"],
                   "MATH-101|di{{T}}|S|ENABLED"),
}  # fmt: skip


@pytest.mark.parametrize("order", list(permutations([0, 1])))
@pytest.mark.parametrize("system", SYSTEMS)
def test_records_of_other_systems(field, system, order):
    head, (begins, ends), other = SYSTEMS[system]
    assert field.send(f"{head}{begins}\n").said == ["enrolled"]
    rows = [(ends, KEPT), (other, "unchanged")]
    rows = [rows[number] for number in order]

    sent = field.send(head + "".join(f"{row}\n" for row, _ in rows))

    assert sent.said == [outcome for _, outcome in rows]
    assert field.is_enrolled("di{{T}}")


@pytest.mark.parametrize("names", [("a.csv", "b.csv"), ("b.csv", "a.csv")])
def test_the_files_of_an_archive_count_together(field, bo, names):
    texts = [field.fill(CANVAS + row) for row in (INTO, OUT)]

    sent = field.send(zipped(dict(zip(names, texts, strict=True))), "application/zip")

    assert sorted(sent.said) == ["unchanged", KEPT]
    assert field.is_enrolled(bo)


def test_learners_that_a_crosswalk_merges_are_one(field):
    """The student has an old and a new id, of which the old one ends."""
    field.map_ids("canvas", learner={"old{{T}}": "eve{{T}}", "new{{T}}": "eve{{T}}"})
    row = "MATH-101,{}{{{{T}}}},student,,{}\n"
    assert field.send(CANVAS + row.format("old", "active")).said == ["enrolled"]

    sent = field.send(CANVAS + row.format("old", "deleted") + row.format("new", "active"))

    assert sent.said == [KEPT, "unchanged"]
    assert field.is_enrolled("eve{{T}}")


def test_our_own_columns_of_a_source_have_records_too(field):
    field.map_ids("canvas", course={"A{{T}}": "{{C1}}", "B{{T}}": "{{C1}}"})
    file = "user,course_id,is_active\nfay{{T}},A{{T}},true\nfay{{T}},B{{T}},false\n"

    sent = field.send(file, source="canvas")
    plain = field.send("user,course_id,is_active\nfay{{T}},{{C1}},true\nfay{{T}},{{C1}},false\n")

    assert sent.said == ["enrolled", KEPT]
    assert plain.said == ["unchanged", "deactivated"]
