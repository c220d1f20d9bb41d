"""Rows of other systems in the worker: translated together, judged like rows of our own."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from api_gateway.status import queries
from api_gateway.status.queries import OutcomeFilter, OutcomesCursor
from enrollment.domain.codes import Code, IdKind, Lane, Reason
from enrollment.domain.crosswalks import CrosswalkEntry, ExternalId
from enrollment.storage import cancellation, crosswalks, submissions
from enrollment.storage.engine.sessions import database_now, sessions_for
from enrollment.storage.tables import SubmissionRow
from schemas.files.formats.detect import FORMAT_NAMES
from schemas.files.source import UnreadableFile
from tests.support.format_files import (
    FORMS,
    RequestedChange,
    archive_of,
    file_of,
    ndjson_of,
    sayable,
    zipped,
)
from tests.support.in_process_service import COURSE, OTHER, SERVER, World, csv_of, row
from tests.support.migrated_databases import migrated_sqlite
from tests.support.statements import recorded_statements

CLOSED = "course-v1:Uni+Chemistry+2026"
HEAD = "course_id,user_id,role,status\n"


def save(world, *entries, source="canvas"):
    with world.sessions.begin() as session:
        crosswalks.merge(session, source, [CrosswalkEntry(*entry) for entry in entries])


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
    url = migrated_sqlite(tmp_path / "reference.sqlite3")
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
        with recorded_statements(mapped.sessions.engine) as seen:
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
        ("MATH", Code.REFUSED),
    ]
    mapped.check()


def test_a_cancelled_file_names_the_ids_as_they_were_sent(mapped):
    file = mapped.send(canvas(("MATH", "4711", "student", "active")))
    with mapped.sessions.begin() as session:
        cancellation.request_cancel(session, file, None, now=database_now(session))
    mapped.work()

    with mapped.sessions.read() as session:
        head = submissions.find(session, file)
        page = queries.read_outcomes_page(
            session, head, OutcomesCursor(), OutcomeFilter(), limit=10
        )
    assert [(one.outcome.user, one.outcome.course_id) for one in page.rows] == [("4711", "MATH")]
    assert page.rows[0].row.cells == ["MATH", "4711", "student", "active"]


def test_what_is_looked_for_is_found_by_source_kind_and_id(mapped):
    wanted = {
        ExternalId("canvas", IdKind.COURSE, "MATH"),
        ExternalId("canvas", IdKind.LEARNER, "MATH"),
        ExternalId("other", IdKind.COURSE, "MATH"),
        ExternalId("canvas", IdKind.LEARNER, "4711"),
        ExternalId("canvas", IdKind.COURSE, '"x\\,{}'),
    }
    with mapped.sessions.read() as session:
        found = crosswalks.find_many(session, wanted)

    assert found == {
        ExternalId("canvas", IdKind.COURSE, "MATH"): COURSE,
        ExternalId("canvas", IdKind.LEARNER, "4711"): "ada",
    }


# --- archives of several systems ---------------------------------------------------------


def clashing(world):
    """Canvas and Moodle use the same ids for others, and one of them is a username here."""
    save(
        world,
        (IdKind.COURSE, "MATH", OTHER),
        (IdKind.LEARNER, "4711", "bob"),
        source="moodle_flat",
    )
    return zipped(
        {
            "1.csv": canvas(("MATH", "4711", "student", "active")),
            "2.txt": b"add,student,4711,MATH\nadd,student,4711,CHEM\n",
            "3.csv": f"user,course_id\n4711,{COURSE}\n4711,MATH\n".encode(),
            "4.ndjson": json.dumps({"user": "4711", "course_id": OTHER}).encode(),
            "5.csv": canvas(("MATH", "4711", "student", "deleted")),
        }
    )


def named(world, file):
    return [(one.line, one.user, one.course_id, one.code) for one in world.outcomes(file)]


def test_each_file_of_an_archive_has_the_ids_of_its_own_system(mapped):
    file = mapped.send(clashing(mapped), media_type="application/zip")
    mapped.work()

    assert named(mapped, file) == [
        (2, "ada", COURSE, Code.ENROLLED),
        (3, "bob", OTHER, Code.ENROLLED),
        (4, "4711", "CHEM", Code.REFUSED),
        (6, "4711", COURSE, Code.ENROLLED),
        (7, "4711", "MATH", Code.INVALID),
        (8, "4711", OTHER, Code.ENROLLED),
        (10, "ada", COURSE, Code.DEACTIVATED),
    ]
    submission = mapped.submission(file)
    assert submission.options.source is None
    assert [(one.format, submission.source_of(one)) for one in submission.files] == [
        ("canvas", "canvas"),
        ("moodle_flat", "moodle_flat"),
        ("native", None),
        ("native", None),
        ("canvas", "canvas"),
    ]
    mapped.check()


def test_a_batch_looks_for_its_ids_once_for_our_own_never_and_for_records_it_ends_twice_more(
    mapped,
):
    mapped.one_at_a_time()
    file = mapped.send(clashing(mapped), media_type="application/zip")
    looks = []
    for batch in mapped.batch_ids(file):
        with recorded_statements(mapped.sessions.engine) as seen:
            mapped.deliver(batch)
        looks.append(sum("crosswalk" in statement for statement in seen))

    assert looks == [1, 1, 0, 0, 3]


def test_a_source_that_is_said_is_that_of_every_file(mapped):
    file = mapped.send(clashing(mapped), media_type="application/zip", source="canvas")
    mapped.work()

    assert [(user, course) for _, user, course, _ in named(mapped, file)] == [
        ("ada", COURSE),
        ("ada", COURSE),
        ("ada", CLOSED),
        ("ada", COURSE),
        ("ada", COURSE),
        ("ada", OTHER),
        ("ada", COURSE),
    ]
    mapped.check()


@pytest.mark.parametrize("source", ["canvas", "other"])
def test_an_archive_kept_before_its_files_had_sources_has_that_of_its_submission(mapped, source):
    save(mapped, (IdKind.COURSE, "MATH", OTHER), source="other")
    rows = canvas(("MATH", "bob", "student", "active"))
    file = mapped.send(zipped({"a.csv": rows}), media_type="application/zip", source=source)
    with mapped.sessions.begin() as session:
        kept = session.get_one(SubmissionRow, file)
        kept.files = [member[:5] for member in kept.files]
    mapped.work()

    (outcome,) = mapped.outcomes(file)
    assert outcome.course_id == {"canvas": COURSE, "other": OTHER}[source]
    mapped.check()


# --- ids that are e-mails ----------------------------------------------------------------


def test_an_id_that_is_an_email_is_whose_email_it_is_and_names_nobody(mapped):
    mapped.learner("zoe", "zoe@example.org")
    save(mapped, (IdKind.LEARNER, "Ada@Example.org", "ada"))
    ids = ["Zoe@Example.org", "Ada@Example.org", "new@example.org", "o'hara@example.org", "@x"]
    wishes = [RequestedChange(user, "MATH") for user in ids]
    file = mapped.send(file_of("canvas", wishes), caller=SERVER, source="canvas")
    mapped.work()

    assert [(one.user, one.code, one.reason) for one in mapped.outcomes(file)] == [
        ("zoe", Code.ENROLLED, None),
        ("ada", Code.ENROLLED, None),
        ("new@example.org", Code.REFUSED, Reason.LEARNER_NOT_FOUND),
        ("o'hara@example.org", Code.REFUSED, Reason.LEARNER_NOT_FOUND),
        ("@x", Code.ENROLLED, None),
    ]
    assert {user for _, user in mapped.enrollments()} == {"zoe", "ada", "@x"}
    mapped.check()


# --- the same table in every format ------------------------------------------------------

#: Known and unknown ids, ours and theirs, e-mails, empty cells; coming and going.
WISHES = st.builds(
    RequestedChange,
    st.sampled_from(
        ["4711", "bob", "cyd smith", "-x", "a;b", "a|b", "zo\xe9", "ZOE@x.org", "no@x.org", ""]
    ),
    st.sampled_from(["MATH", "BIO", "CHEM", COURSE, "a/b/c", "NONE", ""]),
    st.booleans(),
).filter(lambda wish: wish.user or wish.course_id)


def came_of(world, file):
    return [
        (one.user, one.course_id, one.code, one.reason, one.mode, one.is_active, rules_of(one))
        for one in world.outcomes(file)
    ]


def rules_of(outcome):
    """What is wrong with a row, but for the columns' names, which are theirs."""
    found = (outcome.details or {}).get("errors", [])
    return [(one["value"], one["rule"], one.get("kind")) for one in found]


#: One with a header, one without, and those whose rows mean many, or name no course: how cells of
#: all formats are read is tested without a database.
TABLES = ["canvas", "moodle_flat", "moodle_users", "openedx_dashboard"]


@pytest.mark.parametrize("name", TABLES)
@settings(
    max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(table=st.lists(WISHES, min_size=1, max_size=20), is_packed=st.booleans())
def test_any_table_in_any_format_comes_to_the_same_as_in_json(
    mapped, reference, name, table, is_packed
):
    for world in (mapped, reference):
        world.learner("zoe", "zoe@x.org")
    wishes = sayable(name, table, beside=COURSE)
    how = {"caller": SERVER, "source": "canvas"}
    beside = {} if FORMS[name].has_course else {"course_id": COURSE}
    packed = {"media_type": "application/zip"} if is_packed else {}
    as_json = reference.send(ndjson_of(name, wishes), media_type="application/x-ndjson", **how)
    body = (archive_of if is_packed else file_of)(name, wishes)
    file = mapped.send(body, **how, **beside, **packed)
    reference.work()
    mapped.work()

    assert mapped.submission(file).format == name
    assert came_of(mapped, file) == came_of(reference, as_json)
    assert mapped.enrollments() == reference.enrollments()
    mapped.check()


def test_every_format_is_among_them():
    assert FORMS.keys() == set(FORMAT_NAMES) - {"auto"}


@pytest.mark.parametrize("media_type", ["text/csv", "application/zip"])
def test_a_file_without_a_request_is_refused_and_drops_nobody(mapped, media_type):
    mapped.send(csv_of([row("ada")]))
    mapped.work()
    before = mapped.dump()
    body = canvas() if media_type == "text/csv" else zipped({"enrollments.csv": canvas()})

    with pytest.raises(UnreadableFile) as refusal:
        mapped.send(body, media_type=media_type)

    assert refusal.value.code == "empty"
    assert mapped.dump() == before
    assert mapped.standing("ada").is_active
