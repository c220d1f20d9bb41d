"""What is promised of a long file: to its caller, and to everybody else while it is at work."""

import json
import os
from collections.abc import Iterator
from itertools import islice

import httpx
import pytest
from sqlalchemy import func, select

from enrollment.domain.codes import Code
from enrollment.storage import events
from enrollment.storage.engine.sessions import sessions_for
from enrollment.storage.tables import (
    BatchRow,
    CourseRow,
    EnrollmentRow,
    FeedRow,
    LearnerRow,
)
from tests.support.long_files import (
    FIRST_LINE,
    LongFile,
    at_work,
    cancel,
    is_at_work,
    status,
    until,
)
from tests.support.service_processes import client, ended, needs_proc
from worker.processing.processor import TURN_BATCHES

ROWS = int(os.environ.get("ENROLL_TEST_ROWS", "100000"))
HUGE, SMALL, SINGLES = 100_000, 50, 5
PAGE = 1_000

pytestmark = [needs_proc, pytest.mark.timeout(120 + ROWS // 1_000)]
one_worker = pytest.mark.parametrize("whole", ["postgresql-1"], indirect=True, scope="module")
one_and_three_workers = pytest.mark.parametrize(
    "whole", ["postgresql-1", "postgresql-3"], indirect=True, scope="module"
)


@pytest.fixture
def records(whole):
    """Looks at the records beside the service."""
    sessions = sessions_for(whole.database_url, pool_size=1)
    yield sessions.read
    sessions.dispose()


@one_worker
def test_of_a_file_cancelled_half_way_every_row_is_accounted_for(whole, records, tmp_path):
    file, feed = LongFile("half", ROWS), feed_head(records)
    with whole.up.http() as http:
        submission_id = file.hand_in(http, tmp_path)
        until(http, submission_id, lambda counts: counts["pending"] <= ROWS // 2)
        done = cancel(http, submission_id)
        judged = done["counts"]["enrolled"]
        rows = {
            "outcomes": enrolled_by_outcomes(http, submission_id, file),
            "feed": enrolled_by_feed(http, submission_id, file, feed),
            "enrollments": enrolled_by_records(records, file),
        }

    others = dict.fromkeys(Code, 0) | {"pending": 0}
    told = {"total": ROWS, "enrolled": judged, "cancelled": ROWS - judged}
    assert (done["state"], done["result"]) == ("cancelled", "partial")
    assert done["counts"] == {**others, **told}
    assert ROWS // 2 <= judged < ROWS
    expected = b"\1" * judged + b"\0" * (ROWS - judged)
    assert {where: differing(found, expected) for where, found in rows.items()} == {
        "outcomes": [],
        "feed": [],
        "enrollments": [],
    }


def differing(found: bytearray, expected: bytes) -> list[int]:
    """The first few rows that are otherwise than expected."""
    pairs = enumerate(zip(found, expected, strict=True))
    return list(islice((number for number, (is_so, ought) in pairs if is_so != ought), 5))


def enrolled_by_outcomes(http: httpx.Client, submission_id: str, file: LongFile) -> bytearray:
    """Which rows are told to be enrolled; each has one outcome, in the order of the file."""
    found = bytearray()
    path = f"/submissions/{submission_id}/outcomes"
    with http.stream("GET", path, headers={"Accept": "application/x-ndjson"}) as answer:
        assert answer.status_code == 200
        for number, line in enumerate(answer.iter_lines()):
            told = json.loads(line)
            place = told["line"], told["user"], told["course_id"]
            assert place == (number + FIRST_LINE, file.learner(number), file.course(number))
            assert told["outcome"] in {"enrolled", "cancelled"}, told
            found.append(told["outcome"] == "enrolled")
    return found


def enrolled_by_feed(
    http: httpx.Client, submission_id: str, file: LongFile, since: int
) -> bytearray:
    """How many events each row has; the feed has no other ones since then."""
    found = bytearray(file.rows)
    for position, change in enumerate(changes(http, since), since + 1):
        data = change["data"]
        number = data["line"] - FIRST_LINE
        assert (change["type"], data["position"]) == ("enrollment.created", position)
        assert (data["user"], data["course_id"]) == (file.learner(number), file.course(number))
        assert data["submission_id"] == submission_id
        found[number] += 1
    return found


def changes(http: httpx.Client, since: int) -> Iterator[dict]:
    """The feed from a position to its end."""
    page = http.get("/changes", params={"since": since, "limit": PAGE}).json()
    while page["next"] != since:
        yield from page["changes"]
        since = page["next"]
        page = http.get("/changes", params={"since": since, "limit": PAGE}).json()


def enrolled_by_records(records, file: LongFile) -> bytearray:
    """How many enrollments each row has, all of them active."""
    found = bytearray(file.rows)
    enrollments = (
        select(LearnerRow.username, CourseRow.course_id, EnrollmentRow.is_active)
        .join(EnrollmentRow, EnrollmentRow.learner_id == LearnerRow.id)
        .join(CourseRow, CourseRow.id == EnrollmentRow.course_id)
        .where(CourseRow.course_id.in_(file.courses()))
    )
    with records() as session:
        for username, course_id, is_active in session.execute(enrollments).yield_per(PAGE):
            number = file.number(username)
            assert (course_id, is_active) == (file.course(number), True)
            found[number] += 1
    return found


@one_worker
@pytest.mark.parametrize("lane", ["interactive", "bulk"])
def test_a_small_file_is_answered_while_another_callers_huge_one_is_at_work(whole, tmp_path, lane):
    huge = LongFile(f"huge-{lane}-", HUGE)
    rows = [{"user": f"small-{lane}-{n}", "course_id": huge.course(n)} for n in range(SMALL)]
    made = whole.up.enroll("keys", "create", f"small-{lane}", "--scope", "enroll")
    key = made.stdout.split()[-1]
    with (
        whole.up.http() as http,
        client(whole.up.url, key) as other,
        at_work(http, tmp_path, huge) as (running,),
    ):
        taken = other.post("/submissions", json=rows, params={"lane": lane})
        assert taken.status_code == 202, taken.text
        small = ended(other, taken.json()["submission_id"], whole.up.log)
        beside = status(http, running)

    assert (small["result"], small["counts"]["enrolled"]) == ("succeeded", SMALL)
    assert small["caller"] != beside["caller"]
    assert is_at_work(beside["counts"]), beside


@one_and_three_workers
def test_a_single_is_answered_within_a_turn_of_every_worker_though_all_have_a_huge_file(
    whole, records, tmp_path
):
    name = f"busy-{whole.workers}"
    files = [LongFile(f"{name}-{number}-", HUGE) for number in range(whole.workers)]
    with whole.up.http() as http, at_work(http, tmp_path, *files) as running:
        waited_for = []
        for number in range(SINGLES):
            head = feed_head(records)
            ask_and_wait(http, f"{name}-single-{number}", files[0].course(number))
            waited_for.append(batches_before_the_single(records, head))
        beside = [status(http, each)["counts"] for each in running]

    assert all(map(is_at_work, beside)), beside
    assert max(waited_for) <= TURN_BATCHES * whole.workers, waited_for


def ask_and_wait(http: httpx.Client, user: str, course_id: str) -> None:
    """One enrollment, answered as soon as it is judged."""
    asked = {"user": user, "course_details": {"course_id": course_id}}
    answer = http.post("/enrollment", json=asked, headers={"Prefer": "wait=60"})
    assert answer.status_code == 200, answer.text
    assert (answer.json()["user"], answer.json()["is_active"]) == (user, True)


def batches_before_the_single(records, head: int) -> int:
    """How many batches were committed since a position of the feed, before the one single."""
    single = (
        select(FeedRow.first)
        .join(BatchRow, BatchRow.id == FeedRow.batch_id)
        .where(BatchRow.submission_id.is_(None), FeedRow.first > head)
    )
    with records() as session:
        first = session.scalars(single).one()
        between = FeedRow.first > head, FeedRow.first < first
        return session.scalars(select(func.count()).select_from(FeedRow).where(*between)).one()


def feed_head(records) -> int:
    """Where the feed ends."""
    with records() as session:
        return events.last_position(session)
