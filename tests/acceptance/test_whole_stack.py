"""What the service promises, kept by whole stacks: embedded and with real servers."""

import json
import os
import signal
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from tests.support.counting import books
from tests.support.running import children_of, client, ended, open_course, outcomes_of, wait_until

OULAD = Path(__file__).parents[3] / "shared" / "data" / "oulad"
CLIENTS, SEATS = 50, 10
LEARNERS, LATE = 9_000, 100
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
    before = books(whole.database_url)

    assert submit(whole.up, OULAD / "enrollments.csv") == (1, expected["first_run"])
    after = books(whole.database_url, "course-v1:OU+%")
    assert submit(whole.up, OULAD / "enrollments.csv") == (1, expected["second_run"])

    changes = expected["first_run"]["enrolled"] + expected["first_run"]["deactivated"]
    assert (after.enrollments, after.active) == (expected["enrollment_records"], expected["active"])
    assert after.events == changes
    assert after.feed == before.feed + changes
    assert books(whole.database_url, "course-v1:OU+%") == after
    with whole.up.http() as http:
        last = http.get("/changes", params={"since": after.feed - 1}).json()
    assert [change["data"]["position"] for change in last["changes"]] == [after.feed]
    assert last["next"] == after.feed


@pytest.mark.parametrize("lanes", ["interactive", "bulk", "both"])
def test_of_fifty_who_want_ten_seats_ten_get_one(whole, lanes):
    if whole.workers == 1:
        pytest.skip("a race takes several")
    course = f"course-v1:Race+{lanes}+{whole.workers}"
    key, start = whole.up.key(), Barrier(CLIENTS)
    with whole.up.http() as http:
        made = http.put(f"/courses/{course}", json=open_course(course, capacity=SEATS))
        assert made.status_code == 201, made.text

    def ask(number):
        bulk = lanes == "bulk" or (lanes == "both" and number % 2)
        with client(whole.up.url, key) as http:
            http.get("/courses", params={"limit": 1})
            start.wait()
            return ask_in_bulk(http, number) if bulk else ask_alone(http, number)

    def ask_alone(http, number):
        asked = {"user": f"racer{number}", "course_details": {"course_id": course}}
        return outcome_of_single(http, http.post("/enrollment", json=asked))

    def ask_in_bulk(http, number):
        asked = [{"user": f"racer{number}", "course_id": course}]
        return outcome_of_bulk(http, http.post("/submissions", json=asked, params={"lane": "bulk"}))

    with ThreadPoolExecutor(CLIENTS) as pool:
        answers = Counter(pool.map(ask, range(CLIENTS)))

    assert answers == {("enrolled", None): SEATS, ("refused", "course_full"): CLIENTS - SEATS}
    with whole.up.http() as http:
        assert http.get(f"/courses/{course}").json()["seats_taken"] == SEATS
    kept = books(whole.database_url, course)
    assert kept[:3] == (SEATS, SEATS, SEATS)


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
    """Everybody comes, every third leaves again, some come too late."""
    opened, closed = OPEN.format(word), CLOSED.format(word)
    yield "user,course_id,is_active,requested_at"
    yield from (f"l{n},{opened},true,2026-01-02T00:00:00Z" for n in range(LEARNERS))
    yield from (f"late{n},{closed},true," for n in range(LATE))
    yield from (f"l{n},{opened},false,2026-01-03T00:00:00Z" for n in range(0, LEARNERS, 3))


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


@pytest.mark.parametrize("name", ["pool child", "worker", "gateway"])
def test_who_is_killed_at_work_loses_nothing_and_repeats_nothing(whole, tmp_path, name):
    if whole.workers > 1:
        pytest.skip("who works is known where there is one")
    up, word = whole.up, name.replace(" ", "")
    opened, closed = OPEN.format(word), CLOSED.format(word)
    with up.http() as http:
        over = open_course(closed, enrollment_end="2026-01-01T00:00:00Z")
        assert http.post("/courses", json=[open_course(opened), over]).status_code == 200
    file = tmp_path / "rows.csv"
    file.write_text("\n".join(rows(word)) + "\n")
    before, known = books(whole.database_url), up.pids()

    submitting = up.enroll_beside("submit", file)
    wait_until(lambda: in_work(up, submitting), submitting.log)
    killed = victim(up, name)
    os.kill(killed, signal.SIGKILL)

    assert submitting.process.wait(60) == 1, submitting.log()
    wait_until(up.is_ready, up.log)
    after = books(whole.database_url, f"course-v1:Uni+{word}+%")
    left = len(range(0, LEARNERS, 3))
    for count in (f"enrolled\t{LEARNERS}", f"deactivated\t{left}", f"refused\t{LATE}"):
        assert count in submitting.said().splitlines()
    assert after[:3] == (LEARNERS, LEARNERS - left, LEARNERS + left)
    assert after.feed == before.feed + LEARNERS + left
    assert killed not in up.left()
    assert len(up.pids()) == len(known) + (name != "pool child")
    assert len(up.pids("worker")) - (name == "worker") <= 2


def test_it_ends_in_good_order_and_leaves_nobody(whole):
    assert whole.up.end() == 0
    assert whole.up.left() == []
    assert "process.killed" not in whole.up.log()
    assert "Traceback" not in whole.up.log()
