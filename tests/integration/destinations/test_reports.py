"""Jobs at an LMS: compared and applied, courses pulled, enrollments taken over."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import update

from enrollment.domain.codes import ChangeKind
from enrollment.domain.destinations.differences import DifferenceKind
from enrollment.domain.destinations.reports import ReportKind, ReportState
from enrollment.domain.errors import DatabaseUnavailable
from enrollment.domain.events import EnrollmentState
from enrollment.storage import courses
from enrollment.storage.destinations import reports
from enrollment.storage.destinations.compared_states import (
    ComparisonStart,
    LastChange,
    find_last_changes,
)
from enrollment.storage.destinations.reports import LeaseLost
from enrollment.storage.engine.sessions import Sessions
from enrollment.storage.queue.batches import BatchRef
from enrollment.storage.tables import DestinationReportRow
from tests.support.in_process_service import COURSE, OTHER, World, request
from tests.support.lms_jobs import LmsJobs
from tests.support.scripted_lms import (
    API_KEY,
    CLIENT_ID,
    CLIENT_SECRET,
    DROPS_AFTER,
    ScriptedLms,
    refuses,
)
from worker.destinations.fan_out import read_changes
from worker.destinations.openedx.applying import ENROLLMENT_PATH
from worker.destinations.openedx.reading import ENROLLMENTS_PATH
from worker.destinations.reports import importing
from worker.destinations.reports.import_intake import ImportIntake

RECONCILE = ReportKind.RECONCILE
KEY = f'{{"api_key": "{API_KEY}"}}'
CLIENT = f'{{"client_id": "{CLIENT_ID}", "client_secret": "{CLIENT_SECRET}"}}'


@pytest.fixture
def lms() -> Iterator[ScriptedLms]:
    with ScriptedLms(page_size=7) as running:
        yield running


@pytest.fixture
def jobs(sessions: Sessions, lms: ScriptedLms) -> Iterator[LmsJobs]:
    with LmsJobs(sessions, lms.url, CLIENT) as made:
        yield made


def enroll(world: World, *users: str, course: str = COURSE, **wish: object) -> None:
    world.ask(*(request(user, course, **wish) for user in users))
    world.work()


def there(lms: ScriptedLms) -> dict[tuple[str, str], EnrollmentState]:
    return {key: EnrollmentState(**state) for key, state in lms.states.items()}


def test_ends_equal_through_an_lms_that_fails(
    world: World, jobs: LmsJobs, lms: ScriptedLms
) -> None:
    world.course(modes=["audit", "verified"])
    lms.faults[ENROLLMENT_PATH] = [refuses(503), DROPS_AFTER, refuses(429, Retry_After="1")]
    enroll(world, *(f"u{number}" for number in range(20)))
    jobs.deliver_all()
    enroll(world, "u1", "u2", mode="verified")
    lms.forget_tokens()
    jobs.deliver_all()
    enroll(world, "u2", "u3", is_active=False)
    enroll(world, "u3", mode="verified", is_active=True)
    enroll(world, "u3", is_active=False)
    jobs.deliver_all()
    assert there(lms) == world.enrollments()
    report = jobs.run(RECONCILE)
    assert (report.state, report.error) == (ReportState.DONE, None)
    counts = report.counts
    assert (counts["here"], counts["there"], counts["differences"]) == (20, 20, 0)


def test_differences_are_found_and_applied(world: World, jobs: LmsJobs, lms: ScriptedLms) -> None:
    world.course(modes=["audit", "verified"])
    enroll(world, "ada", "bob", "eve", "zoe")
    jobs.deliver_all()
    del lms.states[COURSE, "ada"]
    lms.states[COURSE, "bob"]["mode"] = "verified"
    lms.states[COURSE, "eve"]["is_active"] = False
    lms.states[COURSE, "sam"] = {"mode": "audit", "is_active": True}
    lms.states[COURSE, "tim"] = {"mode": "audit", "is_active": False}
    expected = {
        "ada": DifferenceKind.MISSING_THERE,
        "bob": DifferenceKind.OTHER_MODE,
        "eve": DifferenceKind.OTHER_ACTIVITY,
        "sam": DifferenceKind.EXTRA_THERE,
    }
    shown = jobs.run(RECONCILE)
    assert {it.difference.username: it.difference.kind for it in jobs.differences(shown)} == (
        expected
    )
    assert (shown.counts["differences"], shown.counts["queued"]) == (4, 0)
    jobs.deliver_all()
    assert (COURSE, "ada") not in lms.states
    applied = jobs.run(RECONCILE, is_applied=True)
    assert {it.difference.username for it in jobs.differences(applied) if it.is_queued} == {
        *("ada", "bob", "eve")
    }
    waiting = jobs.run(RECONCILE)
    assert (waiting.counts["in_transit"], waiting.counts["differences"]) == (3, 1)
    jobs.deliver_all()
    last = jobs.run(RECONCILE)
    assert [it.difference.username for it in jobs.differences(last)] == ["sam"]


def test_only_courses_of_the_destination(
    world: World, sessions: Sessions, lms: ScriptedLms
) -> None:
    for course in (COURSE, OTHER):
        world.course(course)
        enroll(world, "ada", course=course)
        lms.states[course, "bob"] = {"mode": "audit", "is_active": True}
    with LmsJobs(sessions, lms.url, KEY, courses=frozenset({COURSE})) as jobs:
        found = jobs.differences(jobs.run(RECONCILE))
    assert {it.difference.course_id for it in found} == {COURSE}
    assert len(found) == 2


def test_change_since_the_beginning_is_on_its_way(
    world: World, jobs: LmsJobs, sessions: Sessions
) -> None:
    world.course()
    before = datetime.now(UTC) - timedelta(seconds=5)
    enroll(world, "ada")
    jobs.deliver_all()
    after = datetime.now(UTC) + timedelta(seconds=5)
    key = (COURSE, "ada")
    with sessions.read() as session:
        for at, position, is_in_transit in ((before, 1, True), (after, 0, True), (after, 1, False)):
            start = ComparisonStart(at, position)
            found = find_last_changes(session, jobs.stored, [key], start=start)
            assert found == {key: LastChange(1, is_in_transit)}


def test_change_that_was_not_queued_yet_is_on_its_way(
    world: World, jobs: LmsJobs, lms: ScriptedLms, sessions: Sessions
) -> None:
    """However long ago it was made: who reads the feed for destinations may be behind."""
    world.course(modes=["audit", "verified"])
    enroll(world, "ada")
    jobs.deliver_all()
    enroll(world, "ada", mode="verified")
    enroll(world, "bob")
    unread = jobs.run(RECONCILE, is_applied=True).counts
    assert (unread["in_transit"], unread["differences"], unread["queued"]) == (2, 0, 0)
    assert read_changes(sessions) == 2
    queued = jobs.run(RECONCILE).counts
    assert (queued["in_transit"], queued["differences"]) == (2, 0)
    jobs.deliver_all()
    arrived = jobs.run(RECONCILE).counts
    assert (arrived["in_transit"], arrived["differences"]) == (0, 0)
    assert len(lms.posts) == 3


def test_change_that_the_destination_never_gets_is_a_difference(
    world: World, sessions: Sessions, lms: ScriptedLms
) -> None:
    """It was made before the destination was; that the feed is not read so far does not matter."""
    world.course()
    enroll(world, "ada")
    with LmsJobs(sessions, lms.url, KEY) as jobs:
        assert jobs.run(RECONCILE).counts["differences"] == 1


@pytest.mark.parametrize(
    ("status", "error"), [(401, "refused (status 401)"), (403, "refused (status 403)")]
)
def test_job_that_cannot_read_fails_with_the_reason(
    jobs: LmsJobs, lms: ScriptedLms, status: int, error: str
) -> None:
    lms.faults[ENROLLMENTS_PATH] = [refuses(status), refuses(status)]
    report = jobs.run(RECONCILE)
    assert (report.state, report.error) == (ReportState.FAILED, error)


def test_job_of_a_process_that_died_is_begun_anew_by_another(
    world: World, jobs: LmsJobs, lms: ScriptedLms, sessions: Sessions
) -> None:
    world.course()
    enroll(world, "ada")
    jobs.deliver_all()
    lms.states.clear()
    queued = jobs.queue(RECONCILE)
    now = datetime.now(UTC)
    with sessions.begin() as session:
        leased = reports.lease_next(session, "died", now=now, until=now + timedelta(seconds=60))
        assert leased is not None
        reports.add_differences(session, leased.id, [])
    assert not jobs.run_next()
    with sessions.begin() as session:
        session.execute(update(DestinationReportRow).values(leased_until=now))
    assert jobs.run_next()
    assert jobs.report(queued).counts["differences"] == 1
    with pytest.raises(LeaseLost), sessions.begin() as session:
        reports.finish(session, leased.id, "died", {}, now=now)


DETAILS = {
    "course_name": "Algebra",
    "enrollment_start": "2026-01-01T00:00:00Z",
    "enrollment_end": None,
    "course_start": None,
    "course_end": "2027-01-01T00:00:00Z",
    "invite_only": True,
    "course_modes": [{"slug": "verified", "min_price": 149}],
}


def test_courses_are_pulled_and_what_the_lms_does_not_know_stays(
    world: World, jobs: LmsJobs, lms: ScriptedLms, sessions: Sessions
) -> None:
    world.course(modes=["audit"], capacity=9, cohorts=("red",), self_paced=True, name="Old")
    enroll(world, "ada")
    lms.courses = {COURSE: {"course_id": COURSE, **DETAILS}, OTHER: {"course_id": OTHER}}
    report = jobs.run(ReportKind.PULL)
    assert (report.state, dict(report.counts)) == (
        ReportState.DONE,
        {"courses": 2, "created": 1, "changed": 1, "unchanged": 0},
    )
    with sessions.read() as session:
        found = courses.find_all(session, [COURSE, OTHER])
    course = found[COURSE]
    assert (course.name, course.invite_only, course.enrollment_end) == ("Algebra", True, None)
    assert course.course_end == datetime(2027, 1, 1, tzinfo=UTC)
    assert [(each.slug, each.min_price) for each in course.modes] == [("verified", 149)]
    assert (course.capacity, course.cohorts, course.self_paced, course.seats_taken) == (
        *(9, ("red",)),
        *(True, 1),
    )
    again = jobs.run(ReportKind.PULL)
    assert again.counts["unchanged"] == 2
    world.check()


def test_courses_are_pulled_on_schedule(sessions: Sessions, lms: ScriptedLms, world: World) -> None:
    lms.courses = {COURSE: {"course_id": COURSE, **DETAILS}}
    with LmsJobs(sessions, lms.url, KEY, pull_courses_every=3_600) as jobs:
        assert jobs.run_next()
        assert not jobs.run_next()
        with sessions.begin() as session:
            at = datetime.now(UTC) - timedelta(hours=2)
            session.execute(update(DestinationReportRow).values(created=at))
        assert jobs.run_next()
        assert not jobs.run_next(jobs.another_process("two"))


def test_enrollments_are_taken_over_and_not_sent_back(
    world: World, jobs: LmsJobs, lms: ScriptedLms
) -> None:
    world.course(modes=["audit", "verified"])
    for number in range(20):
        mode = "verified" if number % 2 else "audit"
        lms.states[COURSE, f"u{number}"] = {"mode": mode, "is_active": number % 5 > 0}
    report = jobs.run(ReportKind.IMPORT, world=world)
    assert (report.state, report.counts["there"], report.counts["enrolled"]) == (
        *(ReportState.DONE, 20),
        16,
    )
    assert {each.kind for each in world.events()} == {ChangeKind.IMPORTED}
    assert there(lms) == world.enrollments()
    jobs.deliver_all()
    assert lms.posts == []
    assert jobs.run(RECONCILE).counts["differences"] == 0
    assert jobs.run(ReportKind.IMPORT, world=world).counts["unchanged"] == 20
    enroll(world, "u1", is_active=False)
    jobs.deliver_all()
    assert len(lms.posts) == 1
    world.check()


def test_an_import_that_was_interrupted_goes_on(
    world: World,
    jobs: LmsJobs,
    lms: ScriptedLms,
    sessions: Sessions,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(importing, "IMPORT_ROWS", 7)
    world.course()
    for number in range(20):
        lms.states[COURSE, f"u{number}"] = {"mode": "audit", "is_active": True}
    handed_in: list[BatchRef] = []

    def dispatch(batch: BatchRef) -> None:
        handed_in.append(batch)
        if len(handed_in) == 2:  # the process ends, and another one does it later
            raise DatabaseUnavailable
        world.work()

    jobs.loop.intake = ImportIntake(sessions=sessions, dispatch=dispatch)
    queued = jobs.queue(ReportKind.IMPORT)
    with pytest.raises(DatabaseUnavailable):
        jobs.run_next()
    assert dict(jobs.report(queued).counts) == {"there": 7, "submissions": 1, "enrolled": 7}
    lms.places.clear()
    with sessions.begin() as session:
        session.execute(update(DestinationReportRow).values(leased_until=datetime.now(UTC)))
    assert jobs.run_next()
    ended = jobs.report(queued)
    assert (ended.state, ended.place) == (ReportState.DONE, None)
    expected = {"there": 20, "submissions": 3, "enrolled": 13, "unchanged": 7}
    assert dict(ended.counts) == expected
    assert lms.places == ["7", "14"]
    assert there(lms) == world.enrollments()
    world.check()
