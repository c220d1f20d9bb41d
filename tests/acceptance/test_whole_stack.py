"""What the service promises, kept by whole stacks: embedded and with real servers."""

import json
import os
import signal
import socket
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from urllib.parse import urlsplit

import pytest

from tests.support.row_counts import row_counts
from tests.support.service_processes import (
    PATIENCE,
    children_of,
    ended,
    needs_proc,
    open_course,
    wait_until,
)

pytestmark = needs_proc

OULAD = Path(__file__).parents[3] / "shared" / "data" / "oulad"
CLIENTS, SEATS = 50, 10
CAME, LEFT, LATE = 9_000, 3_000, 100
EMBEDDED, SERVERS = ["sqlite-1"], ["postgresql-1"]
OPEN, CLOSED = "course-v1:Uni+{}+Open", "course-v1:Uni+{}+Closed"


def submit(up, file):
    """Hand a file in as a person does; the exit code, and what became of it."""
    done = up.enroll("submit", file, "--wait")
    assert done.returncode in {0, 1}, done.stderr
    said = (line.partition("\t") for line in done.stdout.splitlines()[1:] if line[0] != " ")
    counts = {name: int(number) for name, _, number in said if name != "total"}
    return done.returncode, counts


@pytest.mark.skipif(not OULAD.is_dir(), reason="the data set is not in ../shared")
def test_a_real_term_is_judged_as_expected_and_again_without_any_change(whole):
    expected = json.loads((OULAD / "expected.json").read_text())
    assert whole.up.enroll("courses", "load", OULAD / "courses.ndjson").returncode == 0
    before = row_counts(whole.database_url)

    assert submit(whole.up, OULAD / "enrollments.csv") == (1, expected["first_run"])
    after = row_counts(whole.database_url, "course-v1:OU+%")
    assert submit(whole.up, OULAD / "enrollments.csv") == (1, expected["second_run"])

    changes = expected["first_run"]["enrolled"] + expected["first_run"]["deactivated"]
    assert (after.enrollments, after.active) == (expected["enrollment_records"], expected["active"])
    assert after.events == changes
    assert after.feed == before.feed + changes
    assert row_counts(whole.database_url, "course-v1:OU+%") == after
    with whole.up.http() as http:
        last = http.get("/changes", params={"since": after.feed - 1}).json()
    assert [change["data"]["position"] for change in last["changes"]] == [after.feed]
    assert last["next"] == after.feed


def test_of_fifty_who_want_ten_seats_ten_get_one(whole):
    course, start = "course-v1:Race+Seats+2026", Barrier(CLIENTS)

    def ask(number):
        start.wait()
        return ask_in_bulk(f"racer{number}") if number % 2 else ask_alone(f"racer{number}")

    def ask_alone(user):
        asked = {"user": user, "course_details": {"course_id": course}}
        return outcome_of_single(http, http.post("/enrollment", json=asked))

    def ask_in_bulk(user):
        asked = [{"user": user, "course_id": course}]
        return outcome_of_bulk(http, http.post("/submissions", json=asked, params={"lane": "bulk"}))

    with whole.up.http() as http, ThreadPoolExecutor(CLIENTS) as pool:
        made = http.put(f"/courses/{course}", json=open_course(course, capacity=SEATS))
        assert made.status_code == 201, made.text
        answers = Counter(pool.map(ask, range(CLIENTS)))
        assert http.get(f"/courses/{course}").json()["seats_taken"] == SEATS

    assert answers == {("enrolled", None): SEATS, ("refused", "course_full"): CLIENTS - SEATS}
    assert row_counts(whole.database_url, course)[:3] == (SEATS, SEATS, SEATS)


def outcome_of_single(http, accepted):
    assert accepted.status_code == 202, accepted.text
    outcome = ended(http, accepted.json()["submission_id"])["outcome"]
    return outcome["outcome"], outcome.get("reason")


def outcome_of_bulk(http, accepted):
    assert accepted.status_code == 202, accepted.text
    submission_id = accepted.json()["submission_id"]
    ended(http, submission_id)
    (outcome,) = http.get(f"/submissions/{submission_id}/outcomes").json()["outcomes"]
    return outcome["outcome"], outcome.get("reason")


def rows(word: str) -> Iterator[str]:
    """Many come, some come too late, and some leave again."""
    opened, closed = OPEN.format(word), CLOSED.format(word)
    yield "user,course_id,is_active,requested_at"
    yield from (f"l{n},{opened},true,2026-01-02T00:00:00Z" for n in range(CAME))
    yield from (f"late{n},{closed},true," for n in range(LATE))
    yield from (f"l{n},{opened},false,2026-01-03T00:00:00Z" for n in range(LEFT))


def prepared(up, word: str, folder: Path) -> Path:
    """The file, and its courses."""
    over = open_course(CLOSED.format(word), enrollment_end="2026-01-01T00:00:00Z")
    with up.http() as http:
        made = http.post("/courses", json=[open_course(OPEN.format(word)), over])
        assert made.status_code == 200, made.text
    file = folder / "rows.csv"
    file.write_text("\n".join(rows(word)) + "\n")
    return file


def victim(up, name):
    if name == "pool child":
        (child,) = children_of(up.pids("worker")[-1])
        return child
    return up.pids(name)[-1]


def in_work(up, submitting):
    """Some of the file is answered, and some of it is not."""
    assert submitting.process.poll() is None, submitting.log()
    with up.http() as http:
        (newest, *_) = http.get("/submissions").json()["submissions"] or [{}]
    return newest and 0 < newest["counts"]["pending"] < newest["counts"]["total"]


@pytest.mark.parametrize("whole", EMBEDDED, indirect=True, scope="module")
@pytest.mark.parametrize("name", ["pool child", "gateway"])
def test_who_is_killed_at_work_loses_nothing_and_repeats_nothing(whole, tmp_path, name):
    nothing_is_lost_when_killed(whole, tmp_path, name)


@pytest.mark.parametrize("whole", [*EMBEDDED, *SERVERS], indirect=True, scope="module")
def test_a_worker_killed_at_work_loses_nothing_and_repeats_nothing(whole, tmp_path):
    nothing_is_lost_when_killed(whole, tmp_path, "worker")


def nothing_is_lost_when_killed(whole, tmp_path, name):
    up, word = whole.up, name.replace(" ", "")
    file = prepared(up, word, tmp_path)
    before, started = row_counts(whole.database_url), up.pids()

    submitting = up.enroll_beside("submit", file)
    wait_until(lambda: in_work(up, submitting), submitting.log)
    killed = victim(up, name)
    family = {killed, *children_of(killed)}
    os.kill(killed, signal.SIGKILL)

    assert submitting.process.wait(PATIENCE) == 1, submitting.log()
    wait_until(up.is_ready, up.log)
    after = row_counts(whole.database_url, f"course-v1:Uni+{word}+%")
    said = submitting.said().splitlines()
    assert {f"enrolled\t{CAME}", f"deactivated\t{LEFT}", f"refused\t{LATE}"} < set(said)
    assert after[:3] == (CAME, CAME - LEFT, CAME + LEFT)
    assert after.feed == before.feed + CAME + LEFT
    assert family.isdisjoint(up.left())
    assert len(up.pids()) == len(started) + (name != "pool child")


def test_it_ends_in_good_order_and_leaves_nobody(whole):
    number = signal.SIGINT if whole.workers == 1 else signal.SIGTERM
    said = len(whole.up.log())

    assert whole.up.end(number) == 0
    assert whole.up.left() == []
    last_words = whole.up.log()[said:]
    assert "process.killed" not in last_words
    assert "Traceback" not in last_words
    at = urlsplit(whole.up.url)
    with socket.create_server((at.hostname, at.port)):  # nobody listens there any more
        pass
