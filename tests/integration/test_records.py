"""Several records of a file for one enrollment: who is kept by one is not withdrawn by another."""

import json
import random
import sqlite3
from itertools import count, permutations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from enrollment.domain.codes import Code, IdKind, Lane, Reason
from enrollment.domain.crosswalks import CrosswalkEntry
from enrollment.domain.errors import DatabaseUnavailable
from enrollment.runtime import failpoints
from enrollment.storage import crosswalks
from enrollment.storage.engine.sessions import sessions_for
from enrollment.storage.tables import RecordStatesRow
from tests.support.format_files import zipped
from tests.support.in_process_service import COURSE, OTHER, World
from tests.support.migrated_databases import migrated_sqlite
from tests.support.statements import recorded_statements
from worker.processing import record_index
from worker.processing.processor import Processor

KEPT = (Code.UNCHANGED, Reason.KEPT_BY_OTHER_RECORD)
LEFT = (Code.DEACTIVATED, None)
SAME = (Code.UNCHANGED, None)
CANVAS = "course_id,user_id,role,section_id,status,end_date\n"
ONEROSTER = "sourcedId,status,classSourcedId,userSourcedId,role,beginDate,endDate\n"
NUMBERS = count()


@pytest.fixture
def armed():
    yield failpoints.arm
    failpoints.arm("")


def save(world, *entries, source="canvas"):
    with world.sessions.begin() as session:
        crosswalks.merge(session, source, [CrosswalkEntry(*entry) for entry in entries])


def prepared(world):
    """Two courses with several ids elsewhere, and ada, who has two."""
    world.course()
    world.course(OTHER)
    for source in ("canvas", "moodle_flat", "sis", "blackboard"):
        save(
            world,
            (IdKind.COURSE, "MATH", COURSE),
            (IdKind.COURSE, "MATH.A", COURSE),
            (IdKind.COURSE, "MATH.B", COURSE),
            (IdKind.COURSE, "BIO", OTHER),
            (IdKind.LEARNER, "4711", "ada"),
            (IdKind.LEARNER, "old4711", "ada"),
            source=source,
        )
    return world


@pytest.fixture
def mapped(world):
    return prepared(world)


def canvas(*rows):
    return (CANVAS + "".join(f"{row}\n" for row in rows)).encode()


def enrolled(world, *users):
    """Has the learners enrolled by an earlier file."""
    world.send(canvas(*(f"MATH,{user},student,S0,active," for user in users or ["ada"])))
    world.work()


def answers(world, file):
    return [(one.code, one.reason) for one in world.outcomes(file)]


def stored_states(world):
    with world.sessions.read() as session:
        return session.scalars(select(RecordStatesRow.submission_id)).all()


# --- records of one file -----------------------------------------------------------------

NEW, OLD = "MATH,4711,student,B,active,", "MATH,4711,student,A,deleted,"


@pytest.mark.parametrize("batch_rows", [1, 1_000])
@pytest.mark.parametrize("rows", [(NEW, OLD), (OLD, NEW)], ids=["new first", "old first"])
@pytest.mark.parametrize("how", [{}, {"lane": Lane.INTERACTIVE}, {"dry_run": True}])
def test_a_change_of_section_withdraws_nobody(mapped, rows, how, batch_rows):
    enrolled(mapped)
    mapped.batch_rows = batch_rows
    file = mapped.send(canvas(*rows), **how)
    mapped.work()

    assert answers(mapped, file) == [KEPT if row is OLD else SAME for row in rows]
    assert mapped.standing("ada").is_active
    assert mapped.submission(file).tally.reasons == {"kept_by_other_record": 1}
    assert [one.kind for one in mapped.events()] == ["created"]
    mapped.check()


@pytest.mark.parametrize("batch_rows", [1, 2, 1_000])
def test_when_the_last_record_ends_the_learner_is_withdrawn(mapped, batch_rows):
    enrolled(mapped)
    mapped.batch_rows = batch_rows
    rows = [
        f"MATH,4711,student,{one},{status}," for status in ("active", "deleted") for one in "AB"
    ]
    file = mapped.send(canvas(*rows))
    mapped.work()

    assert answers(mapped, file)[:3] == [SAME, SAME, LEFT]
    assert not mapped.standing("ada").is_active
    mapped.check()


def test_of_several_rows_about_one_record_the_last_counts(mapped):
    enrolled(mapped, "ada", "bob")
    file = mapped.send(
        canvas(
            *("MATH,ada,student,A,active,", "MATH,ada,student,A,deleted,"),
            *("MATH,bob,student,A,deleted,", "MATH,bob,student,A,active,"),
        )
    )
    mapped.work()

    assert [code for code, _ in answers(mapped, file)] == [
        *(Code.UNCHANGED, Code.DEACTIVATED),
        *(Code.DEACTIVATED, Code.REACTIVATED),
    ]


@pytest.mark.parametrize(
    "row",
    [
        "MATH,4711,student,B,nonsense,",
        "MATH,4711,teacher,B,active,",
        "MATH,4711,student,B,completed,",
        "MATH,4711,student,B,active,2020-01-01",
        "MATH,4711,student,B,active,soon",
        "MATH,4711,student,B,active,,,too wide",
        "NONE,4711,student,B,active,",
        "BIO,4711,student,B,active,",
        "MATH,4712,student,B,active,",
        "MATH,,student,B,active,",
    ],
)
@pytest.mark.parametrize("is_first", [True, False])
def test_a_row_that_enrolls_nobody_in_that_course_keeps_nobody(mapped, row, is_first):
    enrolled(mapped)
    file = mapped.send(canvas(*((row, OLD) if is_first else (OLD, row))))
    mapped.work()

    assert answers(mapped, file)[1 if is_first else 0] == LEFT
    assert not mapped.standing("ada").is_active
    mapped.check()


def test_records_of_oneroster_have_ids_of_their_own(mapped):
    text = (
        ONEROSTER + "e2,active,MATH,4711,student,,\ne1,tobedeleted,MATH,4711,student,,2020-01-01\n"
    )
    enrolled(mapped)
    file = mapped.send(text.encode(), source="sis")
    same = mapped.send(text.replace("e2", "e1").encode(), source="sis")
    mapped.work()

    assert answers(mapped, file) == [SAME, KEPT]
    assert answers(mapped, same) == [SAME, LEFT]


@pytest.mark.parametrize("on_error", ["abort", "continue"])
def test_all_or_nothing_files_keep_them_as_well(mapped, on_error):
    enrolled(mapped)
    file = mapped.send(canvas(OLD, NEW), on_error=on_error)
    spoiled = mapped.send(canvas(OLD, NEW, "MATH,x,student,A,nonsense,"), on_error=on_error)
    mapped.work()

    assert answers(mapped, file) == [KEPT, SAME]
    aborted = (Code.REFUSED, Reason.ABORTED)
    expected = [aborted, aborted] if on_error == "abort" else [KEPT, SAME]
    assert answers(mapped, spoiled)[:2] == expected
    mapped.check()


# --- ids that a crosswalk merges ---------------------------------------------------------


@pytest.mark.parametrize(
    "other",
    [
        ("MATH.B", "4711"),
        ("MATH.A", "old4711"),
        ("MATH.B", "ada"),
        (COURSE, "ada"),
        ("MATH", "Ada@Example.org"),
    ],
)
@pytest.mark.parametrize("is_first", [True, False])
def test_ids_that_mean_the_same_enrollment_are_other_records(mapped, other, is_first):
    mapped.learner("ada", "ada@example.org")
    enrolled(mapped)
    course_id, user = other
    keeping, ending = f"add,student,{user},{course_id}", "del,student,4711,MATH.A"
    lines = (keeping, ending) if is_first else (ending, keeping)
    file = mapped.send("\n".join(lines).encode())
    mapped.work()

    assert answers(mapped, file)[1 if is_first else 0] == KEPT
    assert mapped.standing("ada").is_active
    mapped.check()


def test_a_log_of_operations_on_the_same_ids_keeps_that_the_last_line_wins(mapped):
    lines = ["add,student,4711,MATH", "del,student,4711,MATH"]
    file = mapped.send("\n".join(lines * 2).encode())
    mapped.work()

    assert [code for code, _ in answers(mapped, file)] == [
        *(Code.ENROLLED, Code.DEACTIVATED, Code.REACTIVATED, Code.DEACTIVATED)
    ]


def test_an_id_that_the_crosswalk_maps_elsewhere_does_not_stand_for_itself(mapped):
    enrolled(mapped)
    save(mapped, (IdKind.LEARNER, "ada", "eve"), source="moodle_flat")
    file = mapped.send(b"add,student,ada,MATH\ndel,student,4711,MATH\n")
    mapped.work()

    assert answers(mapped, file) == [(Code.ENROLLED, None), LEFT]
    assert mapped.standing("eve").is_active


def test_the_crosswalk_counts_as_it_is_when_a_row_is_processed(mapped):
    enrolled(mapped)
    lines = b"add,student,new4711,MATH\ndel,student,4711,MATH\n"
    file = mapped.send(lines)
    save(mapped, (IdKind.LEARNER, "new4711", "ada"), source="moodle_flat")
    mapped.work()

    assert answers(mapped, file) == [SAME, KEPT]


@pytest.mark.parametrize("media_type", ["text/csv", "application/x-ndjson"])
def test_native_files_of_a_source_have_records_and_others_do_not(mapped, media_type):
    rows = [("old4711", "MATH", True), ("4711", "MATH", False)]
    if media_type == "text/csv":
        text = "user,course_id,is_active\n" + "".join(f"{u},{c},{a}\n" for u, c, a in rows)
    else:
        members = [dict(zip(("user", "course_id", "is_active"), row, strict=True)) for row in rows]
        text = "".join(json.dumps(one) + "\n" for one in members)
    of_source = mapped.send(text.encode(), media_type=media_type, source="sis")
    mapped.work()
    assert answers(mapped, of_source) == [(Code.ENROLLED, None), KEPT]
    assert len(stored_states(mapped)) == 1

    plain = text.replace("old4711", "ada").replace("4711", "ada").replace("MATH", COURSE)
    native = mapped.send(plain.encode(), media_type=media_type)
    mapped.work()
    assert answers(mapped, native) == [SAME, LEFT]
    assert len(stored_states(mapped)) == 1


def test_the_user_of_a_row_counts_and_not_its_email(mapped):
    mapped.learner("bob", "bob@example.org")
    text = (
        "user,email,course_id,is_active\n"
        "4711,nobody@example.org,MATH,true\n,bob@example.org,MATH.A,false\n"
        "old4711,,MATH,false\n"
    )
    file = mapped.send(text.encode(), source="sis")
    mapped.work()

    # bob had no enrollment: his row makes an inactive one
    assert answers(mapped, file) == [(Code.ENROLLED, None), LEFT, KEPT]


def test_the_files_of_an_archive_count_together(mapped):
    enrolled(mapped)
    files = {"1.csv": canvas(OLD), "2.txt": b"add,student,old4711,MATH.B\n", "3.csv": canvas()}
    file = mapped.send(zipped(files), media_type="application/zip")
    mapped.work()

    assert answers(mapped, file) == [KEPT, SAME]
    mapped.check()


def test_a_child_course_of_blackboard_keeps_whom_another_ends(mapped):
    enrolled(mapped)
    rows = "MATH.A|4711|DISABLED\nMATH.B|4711|ENABLED\n"
    file = mapped.send(f"EXTERNAL_COURSE_KEY|EXTERNAL_PERSON_KEY|ROW_STATUS\n{rows}".encode())
    mapped.work()

    assert answers(mapped, file) == [KEPT, SAME]


# --- what is stored and asked ------------------------------------------------------------


def test_a_file_that_ends_nothing_stores_no_states(mapped):
    mapped.send(canvas(NEW, "MATH,deleted-user,student,A,active,"))
    mapped.send(canvas(NEW, "MATH,bob,teacher,A,deleted,"))
    assert stored_states(mapped) == []

    file = mapped.send(canvas(NEW, OLD))
    assert stored_states(mapped) == [file]


def test_the_number_of_statements_does_not_depend_on_that_of_the_rows(mapped):
    def statements(number):
        rows = [
            f"MATH,u{number}-{n},student,{one},{status},"
            for n in range(number)
            for one, status in (("A", "deleted"), ("B", "active"))
        ]
        file = mapped.send(canvas(*rows))
        (batch,) = mapped.batch_ids(file)
        with recorded_statements(mapped.sessions.engine) as seen:
            mapped.deliver(batch)
        assert answers(mapped, file) == [KEPT, (Code.ENROLLED, None)] * number
        return len(seen)

    assert statements(2) == statements(400)


# --- crashes, other workers, long files --------------------------------------------------


def test_a_long_file_is_loaded_a_few_batches_at_a_time(mapped, monkeypatch):
    monkeypatch.setattr(record_index, "RECORD_BATCHES_PER_LOAD", 2)
    enrolled(mapped)
    mapped.batch_rows = 1
    mapped.one_at_a_time()
    file = mapped.send(canvas(OLD, *[f"MATH,u{n},student,A,active," for n in range(5)], NEW))
    first = mapped.batch_ids(file)[0]
    for _ in range(3):
        (processed,) = mapped.deliver(first)
        assert processed.batch_ids == ()
        assert [one.id for one in processed.next] == [first]
    mapped.work()

    assert answers(mapped, file)[0] == KEPT
    assert not any(batch.attempts for batch in mapped.batches(file))
    mapped.check()


def test_every_worker_gives_the_same_answer_after_a_crash_and_a_second_delivery(mapped, armed):
    enrolled(mapped)
    mapped.batch_rows = 1
    mapped.one_at_a_time()
    file = mapped.send(canvas(OLD, "MATH,4711,student,C,deleted,", NEW))
    armed("work.before_commit=raise")
    mapped.deliver(*mapped.batch_ids(file)[:1])
    armed("")
    other = Processor(sessions=mapped.sessions)
    for batch in [*mapped.batch_ids(file)] * 2:
        other.process(batch)
    other.transaction.records.close()
    mapped.work()

    assert answers(mapped, file) == [KEPT, KEPT, SAME]
    mapped.check()


def test_a_search_for_a_poison_request_sees_the_same(mapped, armed):
    enrolled(mapped)
    armed("work.judging=raise@poison")
    file = mapped.send(
        canvas(OLD, "MATH,poison,student,A,active,", "MATH,bob,student,A,deleted,", NEW)
    )
    mapped.work()

    assert answers(mapped, file) == [KEPT, (Code.INVALID, Reason.INTERNAL_ERROR), LEFT, SAME]
    mapped.check()


# --- any rows, in any order --------------------------------------------------------------

USERS, COURSES, SECTIONS = ["4711", "old4711", "bob"], ["MATH", "MATH.A", "BIO"], ["A", "B"]
OURS = {
    "4711": "ada",
    "old4711": "ada",
    "bob": "bob",
    "MATH": COURSE,
    "MATH.A": COURSE,
    "BIO": OTHER,
}
ROWS = st.tuples(
    st.sampled_from(COURSES),
    st.sampled_from(USERS),
    st.sampled_from(["student", "student", "student", "teacher"]),
    st.sampled_from(SECTIONS),
    st.sampled_from(["active", "active", "deleted", "deleted", "completed", "nonsense"]),
    st.sampled_from(["", "", "2020-01-01", "2099-01-01"]),
)


def expected_states(rows):
    """Who is in which course after a file, said plainly: by the last good row of each record."""
    records = {}
    for course, user, role, section, status, end in rows:
        is_current = status == "deleted" or end != "2020-01-01"
        if role == "student" and status in {"active", "deleted"} and is_current:
            records[user, course, section] = status == "active"
    states = {}
    for (user, course, _), is_kept in records.items():
        key = (OURS[course], OURS[user])
        states[key] = states.get(key, False) or is_kept
    return states


@settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    rows=st.lists(ROWS, min_size=1, max_size=8),
    batch_rows=st.integers(1, 4),
    seed=st.integers(0, 5),
    is_dry=st.booleans(),
)
def test_any_file_leaves_in_a_course_whom_a_record_keeps(tmp_path, rows, batch_rows, seed, is_dry):
    url = migrated_sqlite(tmp_path / f"{next(NUMBERS)}.sqlite3")
    sessions = sessions_for(url)
    world = prepared(World(sessions, batch_rows=batch_rows))
    text = canvas(*(",".join(row) for row in rows))
    rehearsed = world.send(text, dry_run=True) if is_dry else None
    world.work(random.Random(seed))
    file = world.send(text)
    world.work(random.Random(seed))

    found = {key: state.is_active for key, state in world.enrollments().items()}
    expected = expected_states(rows)
    assert {key: found.get(key, False) for key in expected} == expected
    assert found.keys() <= expected.keys()
    if rehearsed is not None:
        assert answers(world, rehearsed) == answers(world, file)
    world.check()
    world.close()
    sessions.dispose()


def test_the_order_of_records_does_not_matter(mapped):
    rows = [OLD, NEW, "MATH.A,old4711,student,A,deleted,", "BIO,4711,student,A,deleted,"]
    for order in permutations(rows):
        enrolled(mapped)
        file = mapped.send(canvas(*order))
        mapped.work()
        found = dict(zip(order, answers(mapped, file), strict=True))
        assert found[OLD] == found[rows[2]] == KEPT
    assert mapped.standing("ada").is_active
    assert not mapped.standing("ada", OTHER).is_active


def test_a_full_disk_says_nothing_about_the_rows_that_end_records(mapped, monkeypatch):
    file = mapped.send(
        b"user,course_id,is_active\n4711,MATH,true\n4711,MATH.A,false\n", source="sis"
    )
    (number,) = mapped.batch_ids(file)

    def full(*_):
        error = sqlite3.OperationalError("database or disk is full")
        error.sqlite_errorcode = sqlite3.SQLITE_FULL
        raise error

    with monkeypatch.context() as faults:
        faults.setattr(record_index.RecordIndex, "load_more", full)
        for _ in range(3):
            with pytest.raises(DatabaseUnavailable):
                mapped.processor.process(number)
    assert [batch.attempts for batch in mapped.batches(file)] == [0]

    mapped.work()
    assert answers(mapped, file)[1] == KEPT
    mapped.check()
