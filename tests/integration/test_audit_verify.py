"""The shipped checker: silent about records that are right, and it names whatever is not."""

import random
import shutil
import threading
from contextlib import contextmanager
from functools import partial

import pytest
from sqlalchemy import Engine, update
from sqlalchemy.engine import make_url

from api_gateway.audit import report as audit_report
from api_gateway.audit.verify import NotMigrated, verify
from enrollment.domain.audit.violations import ViolationKind
from enrollment.domain.model import Attribute
from enrollment.storage import cancellation, migrate
from enrollment.storage.audit import events, submissions
from enrollment.storage.engine.sessions import database_now, sessions_for
from enrollment.storage.tables import BatchRow
from tests.support.breakpoints import Side
from tests.support.corruptions import FORGERIES
from tests.support.corruptor import Corruptor
from tests.support.in_process_service import COURSE, OTHER, World, hours_ago, request, row
from tests.support.maintenance_env import MaintenanceEnv
from tests.support.servers import create_database, drop_database
from tests.support.statements import recorded_statements

MODES = ["audit", "verified"]


def cancel(world, submission_id):
    with world.sessions.begin() as session:
        cancellation.request_cancel(session, submission_id, None, now=database_now(session))


def live(world):
    """Records of every sort: singles, files, one of them cancelled, and work that waits."""
    world.one_at_a_time()
    world.batch_rows = 2
    world.course(COURSE, modes=MODES, capacity=20)
    world.course(OTHER, cohorts=("blue",))
    world.ask(request("ada"), request("bob"), request("eve", "course-v1:No+Such+Course"))
    world.work()
    world.send([row("ada", mode="verified"), row("cat"), row("dan"), row("bob", is_active=False)])
    world.work()
    world.ask(request("ada", is_active=False))
    world.work()
    gus = request("gus", OTHER, cohort="blue", attributes=(Attribute("credit", "of", "asu"),))
    world.ask(request("ada"), gus)
    world.work()
    halved = world.send([row("hal"), row("ida"), row("joe")])
    world.deliver(*world.batch_ids(halved)[:1])
    cancel(world, halved)
    world.work()
    world.send([row("kim"), row("leo"), row("max")])


@contextmanager
def opened(url):
    sessions = sessions_for(url)
    yield World(sessions)
    sessions.dispose()


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def original(request, tmp_path_factory):
    """A database that was lived in, of each sort in turn; each test is given a copy."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path_factory.mktemp('original') / 'enrollment.sqlite3'}"
    else:
        url = create_database(request.getfixturevalue("postgres_base_url"))
    migrate.upgrade(url)
    with opened(url) as world:
        live(world)
    return make_url(url)


@pytest.fixture
def lived(original, request, tmp_path):
    if original.get_backend_name() == "sqlite":
        copied = shutil.copy(original.database, tmp_path)
        with opened(f"sqlite:///{copied}") as world:
            yield Corruptor(world)
        return
    server = request.getfixturevalue("postgres_base_url")
    url = create_database(server, template=original.database)
    with opened(url) as world:
        yield Corruptor(world)
    drop_database(server, url)


def found(forger):
    return set(forger.world.report().counts)


# --- what is right ------------------------------------------------------------------------


def test_records_that_are_right_are_silent_and_counted(lived):
    report = lived.world.report()

    assert report.is_sound, report.violations
    assert report.violations == report.notes == []
    assert report.checked == {
        "events": 11,
        "enrollments": 7,
        "courses": 2,
        "files": 3,
        "singles": 6,
        "batches": 9,
        "requests": 16,
        "unanswered": 3,
        "parked": 0,
    }


def test_an_empty_database_is_right(world):
    assert world.report().is_sound


@pytest.mark.parametrize("seed", range(3))
def test_whatever_is_asked_in_whatever_order_is_right(world, seed):
    rng = random.Random(seed)
    world.batch_rows = 3
    world.course(COURSE, modes=MODES, capacity=4)
    world.course(OTHER, modes=MODES)
    for _ in range(12):
        asked = [wish(rng) for _ in range(rng.randint(1, 8))]
        if rng.random() < 0.5:
            world.ask(*(request(one.pop("user"), one.pop("course_id"), **one) for one in asked))
        else:
            file = world.send([row(**one) for one in asked])
            if rng.random() < 0.3:
                cancel(world, file)
        if rng.random() < 0.5:
            world.deliver(*rng.sample(world.waiting(), min(2, len(world.waiting()))))
        world.check()
    world.work(rng)
    world.check()


def wish(rng):
    course = rng.choice([COURSE, COURSE, OTHER])
    what = {"user": rng.choice("abcdef"), "course_id": course, "is_active": rng.random() < 0.7}
    return what | ({"mode": rng.choice(MODES)} if rng.random() < 0.5 else {})


def test_what_was_purged_is_not_missed(lived):
    world = lived.world
    world.work()
    bench = MaintenanceEnv(world)
    bench.pass_time(days=31)
    bench.purge_all()

    report = world.report()

    assert report.is_sound, report.violations
    assert (report.checked["batches"], report.checked["events"]) == (0, 14)


def test_a_single_that_waited_longer_stands_before_one_with_a_lower_number(world):
    world.course(modes=MODES)
    world.ask(request("ada", mode="verified"))
    world.ask(request("ada"))
    with world.sessions.begin() as session:
        longer = update(BatchRow).where(BatchRow.id == 2)
        session.execute(longer.values(waiting_since=hours_ago(1)))
    world.work()

    world.check()


# --- what is not --------------------------------------------------------------------------


@pytest.mark.parametrize("name", FORGERIES)
def test_a_forgery_is_named(lived, name):
    forge, faults = FORGERIES[name]

    forge(lived)

    assert faults <= found(lived)


def test_every_fault_has_a_forgery():
    shown = set().union(*(faults for _, faults in FORGERIES.values()))

    assert set(ViolationKind) - shown == {ViolationKind.SEATS_EXCEEDED}


def test_seats_beyond_every_capacity_are_found_by_who_knows_them(lived):
    sessions = lived.world.sessions

    assert verify(sessions, capacities={COURSE: 5, OTHER: None}).is_sound
    exceeded = verify(sessions, capacities={COURSE: 4, OTHER: 0})
    assert [violation.kind for violation in exceeded.violations] == [
        ViolationKind.SEATS_EXCEEDED
    ] * 2


def test_a_capacity_that_was_lowered_is_worth_a_note(lived):
    lived.world.course(COURSE, modes=MODES, capacity=1)

    report = verify(lived.world.sessions)

    assert report.is_sound
    assert report.notes == [f"{COURSE} has 5 of 1 seats taken"]


def test_a_violation_comes_with_the_whole_story(lived):
    lived.sql(
        "UPDATE enrollment SET mode = 'honor' WHERE event_id = :id", id=lived.chain("ada")[-1]
    )

    (only,) = lived.world.report().violations

    told = "\n".join(step.description for step in only.timeline)
    assert f"ada in {COURSE} is honor active" in only.message
    assert [told.count(word) for word in ("dispatched", "processed", "of the feed")] == [1, 1, 4]
    assert [step.at for step in only.timeline] == sorted(step.at for step in only.timeline)


def test_a_story_is_told_of_what_is_hardly_there(lived):
    lived.sql(
        "UPDATE batch SET outcomes = :kept, attempts = 2, repeats = 3, parked_at = answered_at"
        " WHERE answered_at IS NOT NULL",
        kept=b"z?",
    )
    lived.sql("UPDATE event SET previous_id = id")
    lived.sql("DELETE FROM batch WHERE id = :id", id=lived.batch_of("cat"))

    report = lived.world.report()

    told = "\n".join(step.description for one in report.violations for step in one.timeline)
    for what in ("cannot be decoded", "is not stored", "parked", "attempts", "re-dispatched"):
        assert what in told, what


def test_so_many_broken_chains_are_not_all_told(lived, monkeypatch):
    monkeypatch.setattr("api_gateway.audit.event_checks.MAX_BUCKETS", 2)
    lived.sql("DELETE FROM enrollment")

    report = lived.world.report()

    assert report.counts[ViolationKind.FOLD_LOOSE] == 2
    assert "too many event chains" in report.notes[-1]


# --- how it looks -------------------------------------------------------------------------


def test_tables_that_lack_migrations_are_not_looked_at(world):
    migrate.downgrade(world.sessions.engine.url.render_as_string(hide_password=False), "base")

    with pytest.raises(NotMigrated, match="enroll db upgrade"):
        verify(world.sessions)


def test_who_writes_meanwhile_raises_no_false_alarm(world):
    world.course(COURSE, modes=MODES, capacity=40)
    world.course(OTHER)
    done = threading.Event()

    def write(seed):
        rng = random.Random(seed)
        mine = World(world.sessions, batch_rows=4)
        while not done.is_set():
            mine.ask(*(request(f"s{seed}.{rng.randint(0, 30)}") for _ in range(5)))
            mine.send([row(**wish(rng) | {"user": f"u{rng.randint(0, 30)}"}) for _ in range(9)])
            mine.deliver(*mine.waiting()[:6])

    writers = [Side(partial(write, seed)) for seed in range(2)]
    try:
        reports = [verify(world.sessions) for _ in range(12)]
    finally:
        done.set()
        for writer in writers:
            writer.join()

    assert [report.violations for report in reports] == [[]] * 12
    assert reports[-1].checked["events"] > reports[0].checked["events"]


def statements_of(world):
    with recorded_statements(Engine) as seen:  # SQLite's copy has an engine of its own
        assert world.report().is_sound
    return seen


def test_statements_do_not_grow_with_the_rows(world):
    world.course()
    world.send([row("ada")])
    world.ask(request("bob"))
    world.work()
    few = statements_of(world)
    world.send([row(f"learner{n}") for n in range(900)])
    world.ask(*(request(f"single{n}") for n in range(900)))
    world.work()

    many = statements_of(world)

    assert many == few


#: The statements that give a page.
PAGED = {
    events: ("_SPANS", "_EVENT_IDS", "_COURSES", "_ENROLLMENTS"),
    submissions: ("_OF_FILES", "_OF_SINGLES", "_FILES", "_SINGLES"),
}


def test_pages_of_any_length_come_to_the_same(lived, monkeypatch):
    whole = lived.world.report().checked
    monkeypatch.setattr(events, "GROUP_EVENTS", 2)
    for module, names in PAGED.items():
        for name in names:
            monkeypatch.setattr(module, name, getattr(module, name).limit(2))

    report = lived.world.report()

    assert report.is_sound, report.violations
    assert report.checked == whole
    lived.sql("DELETE FROM feed WHERE batch_id = :id", id=lived.batch_of("cat"))
    assert ViolationKind.FEED_OUTSIDE in found(lived)


def test_how_far_it_is_is_told(lived):
    with lived.world.sessions.engine.begin() as connection:
        connection.exec_driver_sql("ANALYZE")
    totals, read = [], []

    def start(rows):
        totals.append(rows)
        return read.append

    verify(lived.world.sessions, start_progress=start)

    assert sum(read) == 11 + 7 + 16
    assert totals == [sum(read) + 3]  # the submissions of files


def test_a_report_holds_only_the_first_violations(lived, monkeypatch):
    monkeypatch.setattr(audit_report, "MAX_VIOLATIONS", 2)
    lived.sql("UPDATE enrollment SET mode = 'honor'")

    report = lived.world.report()

    assert len(report.violations) == 2
    assert report.counts == {ViolationKind.FOLD_STATE: 7}


def test_nothing_is_written(lived):
    before = lived.world.dump()

    lived.world.report()

    assert lived.world.dump() == before
