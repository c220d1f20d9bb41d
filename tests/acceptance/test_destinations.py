"""A second instance of this service as the LMS behind the first: both end in the same state."""

import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import delete

from enrollment.domain.destinations.records import Destination
from enrollment.domain.destinations.reports import DestinationReport, ReportKind, ReportState
from enrollment.runtime.outbound.secret_encryption import SecretEncryption
from enrollment.storage.destinations import registry, reports
from enrollment.storage.engine.sessions import Sessions, sessions_for
from enrollment.storage.tables import EnrollmentRow
from tests.support.servers import redis_server
from tests.support.service import Service, hand_in
from tests.support.service_processes import (
    ENROLL,
    PATIENCE,
    bare,
    ended,
    open_course,
    wait_until,
)

COURSE, OTHER = "course-v1:DemoX+ALG101+2025", "course-v1:DemoX+GEO101+2025"
MODES = [{"slug": "audit"}, {"slug": "verified", "min_price": 149}]
ENCRYPTION_KEY = "k" * 40
CAMPUS = "campus"


@pytest.fixture(scope="module")
def redis_urls() -> Iterator[list[str]]:
    with redis_server() as one, redis_server() as two:
        yield [one, two]


@pytest.fixture
def front(tmp_path: Path, redis_urls: list[str]) -> Iterator[Service]:
    """The first instance, which sends to the second."""
    (tmp_path / "front").mkdir()
    settings = {
        "ENROLL_REDIS_URL": redis_urls[0],
        "ENROLL_ENCRYPTION_KEY": ENCRYPTION_KEY,
        "ENROLL_PRIVATE_DESTINATIONS": "true",
    }
    with Service(tmp_path / "front", **settings) as made:
        yield made.start_all()


@pytest.fixture
def lms(tmp_path: Path, redis_urls: list[str], postgres_url: str) -> Iterator[Service]:
    """The second instance, on PostgreSQL."""
    (tmp_path / "lms").mkdir()
    settings = {"ENROLL_REDIS_URL": redis_urls[1]}
    with Service(tmp_path / "lms", database_url=postgres_url, **settings) as made:
        yield made.start_all()


def add_destination(sessions: Sessions, lms: Service, **more: Any) -> None:
    members: dict[str, Any] = {"courses": frozenset(), "pull_courses_every": None, **more}
    destination = Destination(
        name=CAMPUS,
        kind="openedx",
        url=lms.url,
        concurrency=4,
        requests_per_second=None,
        is_paused=False,
        **members,
    )
    auth = SecretEncryption([ENCRYPTION_KEY]).encrypt(f'{{"api_key": "{lms.key}"}}')
    with sessions.begin() as session:
        registry.put(session, destination, auth, destination_id=uuid4(), now=datetime.now(UTC))


def run(sessions: Sessions, kind: ReportKind, *, is_applied: bool = False) -> DestinationReport:
    """Does a job, and returns its report."""
    with sessions.begin() as session:
        report = reports.add(
            session,
            CAMPUS,
            kind,
            report_id=uuid4(),
            now=datetime.now(UTC),
            is_applied=is_applied,
        )
    assert report is not None

    def done() -> DestinationReport | None:
        with sessions.read() as session:
            found = reports.find(session, CAMPUS, UUID(str(report.id)))
        is_open = found is None or found.state in {ReportState.QUEUED, ReportState.RUNNING}
        return None if is_open else found

    found = wait_until(done)
    assert isinstance(found, DestinationReport)
    assert found.state is ReportState.DONE, found.error
    return found


def reconciled(sessions: Sessions, **how: Any) -> DestinationReport:
    """Compares until nothing is on its way."""

    def compare() -> DestinationReport | None:
        found = run(sessions, ReportKind.RECONCILE, **how)
        return None if found.counts["in_transit"] else found

    found = wait_until(compare)
    assert isinstance(found, DestinationReport)
    return found


def states(service: Service) -> dict[tuple[str, str], tuple[str, bool]]:
    """Returns all enrollments of an instance, read over its API."""
    with service.http() as http:
        rows = http.get("/enrollments", params={"page_size": 1_000}).json()["results"]
    return {(row["course_id"], row["user"]): (row["mode"], row["is_active"]) for row in rows}


def change(service: Service, rows: list[dict[str, Any]]) -> None:
    with service.http() as http:
        taken = http.post("/submissions", json={"enrollments": rows})
        assert taken.status_code == 202, taken.text
        ended(http, taken.json()["submission_id"], service.log)


@pytest.mark.slow
def test_both_end_equal(front: Service, lms: Service) -> None:
    for service in (front, lms):
        with service.http() as http:
            for course in (COURSE, OTHER):
                body = open_course(course, course_modes=MODES)
                assert http.put(f"/courses/{course}", json=body).is_success
    sessions = sessions_for(front.database_url, pool_size=1)
    add_destination(sessions, lms)
    with front.http() as http:
        for taken in hand_in(http, COURSE, "n", singles=3, rows=60):
            ended(http, taken, front.log)
    rows = [{"user": f"nrow{n}", "course_id": COURSE} for n in range(30)]
    change(front, [{**row, "mode": "verified"} for row in rows])
    change(front, [{**row, "is_active": False} for row in rows[:10]])
    change(front, [{"user": "late", "course_id": OTHER, "is_active": False}])
    wait_until(lambda: states(lms) == states(front), front.log)
    first = reconciled(sessions)
    assert first.counts["differences"] == 0, front.log()
    assert len(states(front)) == 64

    theirs = sessions_for(lms.database_url, pool_size=1)
    with theirs.begin() as session:
        session.execute(delete(EnrollmentRow).where(EnrollmentRow.mode == "verified"))
    change(lms, [{"user": "stranger", "course_id": COURSE}])
    found = reconciled(sessions, is_applied=True)
    assert (found.counts["missing_there"], found.counts["extra_there"]) == (20, 1)
    assert found.counts["queued"] == 20
    last = reconciled(sessions)
    assert (last.counts["differences"], last.counts["extra_there"]) == (1, 1)
    active = {key: state for key, state in states(lms).items() if state[1]}
    del active[COURSE, "stranger"]
    assert active == {key: state for key, state in states(front).items() if state[1]}
    theirs.dispose()
    sessions.dispose()


def enroll(service: Service, *words: str, typed: str = "") -> subprocess.CompletedProcess[str]:
    """Runs a command against a service."""
    return subprocess.run(
        [*ENROLL, *words, "--url", service.url],
        capture_output=True,
        text=True,
        input=typed,
        env=bare(ENROLL_API_KEY=service.key),
        timeout=2 * PATIENCE,
        check=False,
    )


@pytest.mark.slow
@pytest.mark.timeout(240)  # seven commands, and six processes to start
def test_from_the_command_line(front: Service, lms: Service, tmp_path: Path) -> None:
    with lms.http() as http:
        assert http.put(f"/courses/{COURSE}", json=open_course(COURSE)).is_success
    change(lms, [{"user": f"u{n}", "course_id": COURSE} for n in range(5)])
    put = enroll(front, "destinations", "put", CAMPUS, lms.url, "--api-key", typed=f"{lms.key}\n")
    assert put.returncode == 0, put.stderr
    assert lms.key not in put.stdout + put.stderr

    pulled = enroll(front, "courses", "pull", "--from", CAMPUS)
    assert (pulled.returncode, pulled.stdout) == (
        0,
        "1 courses: 1 created, 0 changed, 0 unchanged\n",
    )
    file = tmp_path / "differences.csv"
    differing = enroll(front, "destinations", "reconcile", CAMPUS, "-o", str(file))
    assert (differing.returncode, differing.stdout.splitlines()[0]) == (6, "5 differences")
    assert file.read_text().count("extra_there") == 5
    imported = enroll(front, "enrollments", "import", "--from", CAMPUS)
    assert (imported.returncode, imported.stdout) == (0, "5 enrollments: 5 enrolled\n")
    equal = enroll(front, "destinations", "reconcile", CAMPUS)
    assert (equal.returncode, equal.stdout) == (0, "0 differences\n")
    absent = enroll(front, "destinations", "reconcile", "nowhere")
    assert absent.returncode == 2, absent.stderr


@pytest.mark.slow
def test_courses_are_pulled_and_enrollments_taken_over(front: Service, lms: Service) -> None:
    with lms.http() as http:
        body = open_course(
            COURSE, course_modes=MODES, course_name="Algebra", enrollment_end="2030-01-01T00:00Z"
        )
        assert http.put(f"/courses/{COURSE}", json=body).is_success
    rows = [{"user": f"u{n}", "course_id": COURSE} for n in range(130)]
    change(lms, [{**row, "mode": "verified"} for row in rows])
    change(lms, [{**row, "is_active": False} for row in rows[:7]])
    sessions = sessions_for(front.database_url, pool_size=1)
    add_destination(sessions, lms, courses=frozenset({"DemoX+*"}), pull_courses_every=3_600)

    def pulled() -> bool:
        with front.http() as http:
            return http.get(f"/courses/{COURSE}").is_success

    wait_until(pulled, front.log)
    with front.http() as http, lms.http() as their_http:
        ours = http.get(f"/courses/{COURSE}").json()
        theirs = their_http.get(f"/courses/{COURSE}").json()
    assert ours == {**theirs, "seats_taken": 0}
    report = run(sessions, ReportKind.IMPORT)
    assert report.counts == {
        "there": 130,
        "submissions": 1,
        "enrolled": 123,
        "deactivated": 7,
    }
    assert states(front) == states(lms)
    assert reconciled(sessions).counts["differences"] == 0
    assert run(sessions, ReportKind.IMPORT).counts["unchanged"] == 130
    with front.http() as http:
        changes = http.get("/changes", params={"limit": 1_000}).json()["changes"]
    assert {each["type"] for each in changes} == {"enrollment.imported"}
    sessions.dispose()
