"""Concurrent reads share a query, and none is told less than was true when it asked."""

import asyncio
import json
import threading
from collections import Counter
from datetime import UTC, datetime

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from api_gateway.database import Database
from api_gateway.reads import group_reader
from api_gateway.reads.details_by_edition import DetailsByEdition
from api_gateway.reads.enrollment_reads import EnrollmentReads
from api_gateway.reads.group_reader import GroupReader
from enrollment.domain.errors import DatabaseUnavailable, Overloaded
from enrollment.domain.model import Course, Mode
from enrollment.storage import course_edition, courses
from enrollment.storage.engine.dialect import is_postgresql
from enrollment.storage.engine.engines import make_engine
from enrollment.storage.engine.sessions import Sessions
from enrollment.storage.views import enrollment_views
from schemas.enrollments import dump_enrollment
from tests.support.courses import save
from tests.support.in_process_service import COURSE, OTHER, request
from tests.support.statements import recorded_statements

NOW = datetime(2026, 6, 1, tzinfo=UTC)
LATER = datetime(2026, 6, 2, tzinfo=UTC)
EARLY = (Mode(slug="audit"), Mode(slug="early", expires_at=NOW))
UNSTORABLE = "ada\ud800"
PATIENCE = 20.0


@pytest.fixture
def records(sessions):
    made = Database(sessions, threads=2)
    yield made
    made.close()


def read_all(records, find, *keys, monotonic=lambda: 0.0):
    """What comes of reads that are asked for at once: values, or what went wrong."""

    async def ask():
        reader = GroupReader(records, find, monotonic=monotonic)
        return await asyncio.gather(*map(reader.read, keys), return_exceptions=True)

    return asyncio.run(ask())


def reads_of(records, ask, now=lambda: NOW):
    """What a coroutine function gets from the reads of enrollments."""

    async def run():
        return await ask(EnrollmentReads(records, now))

    return asyncio.run(run())


# --- groups -------------------------------------------------------------------------------


def test_reads_that_arrive_together_share_a_query(records):
    groups = []

    def find(_session, keys):
        groups.append(list(keys))
        return [key * 2 for key in keys]

    assert read_all(records, find, *range(20)) == [n * 2 for n in range(20)]
    assert groups == [list(range(20))]


def test_a_group_has_a_largest_size(records, monkeypatch):
    monkeypatch.setattr(group_reader, "MAX_GROUP_READS", 3)
    sizes = []

    def find(_session, keys):
        sizes.append(len(keys))
        return keys

    assert read_all(records, find, *range(8)) == list(range(8))
    assert sizes == [3, 3, 2]


def test_more_than_can_wait_are_turned_away(records, monkeypatch):
    monkeypatch.setattr(group_reader, "MAX_PENDING_READS", 2)

    results = read_all(records, lambda _session, keys: keys, *range(5))

    assert [isinstance(result, Overloaded) for result in results] == [False] * 2 + [True] * 3


def test_one_that_cannot_be_read_never_fails_the_others(records):
    def find(_session, keys):
        return [10 // key for key in keys]

    one, broken, two = read_all(records, find, 1, 0, 2)

    assert (one, two) == (10, 5)
    assert isinstance(broken, ZeroDivisionError)


def test_who_goes_away_leaves_the_others_their_answer(records):
    async def leave():
        reader = GroupReader(records, lambda _session, keys: keys)
        waiting = [asyncio.ensure_future(reader.read(n)) for n in range(3)]
        await asyncio.sleep(0)
        waiting[1].cancel()
        return await asyncio.gather(*waiting, return_exceptions=True)

    first, gone, last = asyncio.run(leave())

    assert (first, last) == (0, 2)
    assert isinstance(gone, asyncio.CancelledError)


@pytest.mark.parametrize(
    "url", ["sqlite:////no/such/folder/x.sqlite3", "postgresql+psycopg://nobody@127.0.0.1:1/x"]
)
def test_without_a_database_everybody_hears_so(url):
    records = Database(Sessions(make_engine(url)))

    async def ask(reads):
        asked = [reads.find("ada", COURSE), reads.find("bob", COURSE), reads.list_active("ada")]
        return await asyncio.gather(*asked, return_exceptions=True)

    try:
        results = reads_of(records, ask)
    finally:
        records.close()

    assert [type(result) for result in results] == [DatabaseUnavailable] * 3


def test_a_query_that_fails_late_fails_those_that_wait_for_the_next(records, monkeypatch):
    monkeypatch.setattr(group_reader, "MAX_GROUP_READS", 1)
    times, asked = iter([0.0, group_reader.MAX_READ_FAILURE_SECONDS + 1]), []

    def find(_session, keys):
        asked.append(keys)
        raise DatabaseUnavailable

    results = read_all(records, find, *range(3), monotonic=lambda: next(times))

    assert [type(result) for result in results] == [DatabaseUnavailable] * 3
    assert len(asked) == 1


# --- never older than the question --------------------------------------------------------


class Steps:
    """Reads of the courses' edition; each query stops before it looks, and after it if it may."""

    def __init__(self, records):
        self.records = records
        self.answers = []
        self._reader = GroupReader(records, self._find)
        self._loop = asyncio.get_running_loop()
        self._may_go = threading.Semaphore(0)
        self._is_stopped = False
        self._news = asyncio.Event()

    def _find(self, session, keys):
        self._stop()
        found = course_edition.edition(session)
        if is_postgresql(session):  # SQLite's writers wait for readers
            self._stop()
        return [found] * len(keys)

    def _stop(self):
        self._loop.call_soon_threadsafe(self._note_stop)
        assert self._may_go.acquire(timeout=PATIENCE)

    def _note_stop(self):
        self._is_stopped = True
        self._news.set()

    async def write(self):
        def bump():
            with self.records.sessions.begin() as session:
                course_edition.bump_edition(session)

        await asyncio.to_thread(bump)

    async def ask(self):
        with self.records.sessions.read() as session:
            known = course_edition.edition(session)
        answer = asyncio.ensure_future(self._reader.read(None))
        answer.add_done_callback(lambda _: self._news.set())
        self.answers.append((known, answer))
        await self._until_stopped()

    async def step(self):
        """Lets the query that is stopped, if one is, go to its next stop or its end."""
        if self._is_stopped:
            self._is_stopped = False
            self._may_go.release()
            await self._until_stopped()

    async def _until_stopped(self):
        """Waits until a query is stopped or nothing is left to read."""
        async with asyncio.timeout(PATIENCE):
            while not self._is_stopped and self._is_reading():
                self._news.clear()
                await self._news.wait()

    def _is_reading(self):
        return not all(answer.done() for _, answer in self.answers)

    async def finish(self):
        while self._is_reading():
            await self.step()
        return [(known, answer.result()) for known, answer in self.answers]


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(st.sampled_from(["ask", "write", "step"]), max_size=14))
def test_an_answer_is_never_older_than_its_question(records, moves):
    async def play():
        steps = Steps(records)
        for move in moves:
            await getattr(steps, move)()
        return await steps.finish()

    for known, answer in asyncio.run(play()):
        assert answer >= known


# --- enrollments --------------------------------------------------------------------------


def enrolled(world):
    """Ada has two courses, one of which she left, and Bob one."""
    world.course(COURSE, modes=["audit", "verified"])
    world.course(OTHER)
    world.ask(request("ada", mode="audit"), request("ada", OTHER), request("bob", OTHER))
    world.work()
    world.ask(request("ada", OTHER, is_active=False))
    world.work()


def reference(world, username, course_id):
    """One enrollment as it is rendered by the slow way."""
    with world.sessions.read() as session:
        row = enrollment_views.find(session, username, course_id)
        course = courses.find(session, course_id)
    return dump_enrollment(row.username, row.enrollment, course, at=NOW)


def test_each_of_a_group_gets_its_own_enrollment(world, records):
    enrolled(world)
    keys = [
        ("ada", COURSE),
        ("bob", OTHER),
        ("ada", OTHER),
        ("bob", COURSE),
        ("nobody", COURSE),
        (UNSTORABLE, COURSE),
        ('a"},\\{', COURSE),
        ("ada", COURSE),
    ]

    found = reads_of(records, lambda r: asyncio.gather(*(r.find(*key) for key in keys)))

    expected = [reference(world, *key) for key in keys[:3]]
    assert [body and json.loads(body) for body in found] == [*expected, *[None] * 4, expected[0]]
    assert expected[2]["is_active"] is False


def test_each_of_a_group_gets_the_list_of_its_own_active_enrollments(world, records):
    enrolled(world)
    users = ["bob", "nobody", "ada", UNSTORABLE, "bob"]

    found = reads_of(records, lambda r: asyncio.gather(*map(r.list_active, users)))

    bob = [reference(world, "bob", OTHER)]
    assert list(map(json.loads, found)) == [bob, [], [reference(world, "ada", COURSE)], [], bob]


def test_a_group_takes_one_statement_once_the_courses_are_known(world, records):
    enrolled(world)

    async def ask(reads):
        await reads.find("ada", COURSE)
        with recorded_statements(world.sessions.engine) as seen:
            await asyncio.gather(*(reads.find(f"user{n}", COURSE) for n in range(50)))
            await reads.find("ada", COURSE)
        return seen

    seen = reads_of(records, ask)

    assert Counter(statement.split()[0] for statement in seen if "BEGIN" not in statement) == {
        "SELECT": 2
    }


def test_a_course_is_read_again_once_it_was_changed(world, records):
    enrolled(world)

    async def ask(reads):
        before = json.loads(await reads.find("ada", COURSE))
        await asyncio.to_thread(save, world.sessions, Course(course_id=COURSE, name="New"))
        return before, json.loads(await reads.find("ada", COURSE))

    before, after = reads_of(records, ask)

    assert before["course_details"]["course_name"] != "New"
    assert after["course_details"]["course_name"] == "New"


def test_a_mode_is_shown_until_it_expires(sessions):
    save(sessions, Course(course_id=COURSE, modes=EARLY))
    clock = [NOW]
    details = DetailsByEdition(lambda: clock[0])

    def slugs():
        with sessions.read() as session:
            found = details.find_all(session, course_edition.edition(session), [COURSE])
        return [mode["slug"] for mode in json.loads(orjson.dumps(found[COURSE]))["course_modes"]]

    assert slugs() == slugs() == ["audit", "early"]
    clock[0] = LATER
    assert slugs() == ["audit"]


def test_more_courses_than_are_kept_are_read_each_time(sessions, monkeypatch):
    monkeypatch.setattr("api_gateway.reads.details_by_edition.MAX_KEPT_COURSES", 1)
    save(sessions, Course(course_id=COURSE))
    save(sessions, Course(course_id=OTHER))
    details = DetailsByEdition(lambda: NOW)

    with sessions.read() as session:
        edition = course_edition.edition(session)
        for _ in range(2):
            assert set(details.find_all(session, edition, [COURSE, OTHER, "none"])) == {
                COURSE,
                OTHER,
            }


def test_reading_leaves_no_transaction_open(sessions):
    if sessions.engine.dialect.name != "postgresql":
        pytest.skip("SQLite's reads are transactions")
    with sessions.read_statements() as session:
        first = session.scalar(text("SELECT txid_current()"))
        assert session.scalar(text("SELECT txid_current()")) > first
    with sessions.read() as session:
        same = session.scalar(text("SELECT txid_current()"))
        assert session.scalar(text("SELECT txid_current()")) == same
