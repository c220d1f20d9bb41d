"""The answers that the README shows are those of the service."""

import pytest

from tests.support.documented import examples, is_shown
from tests.support.gateway import Gateway
from tests.support.migrated_databases import migrated_sqlite

README = "../README.md"
COURSE = "course-v1:DemoX+GEO+2026"
ADA = {"user": "ada", "course_id": COURSE}


@pytest.fixture
def tour(tmp_path):
    """A gateway on an empty database, after the first steps of the README."""
    url = migrated_sqlite(tmp_path / "x.sqlite3")
    made = Gateway(url)
    course = {"course_name": "Geometry", "capacity": 2}
    assert_shown("curl -X PUT", made.call("PUT", f"courses/{COURSE}", made.admin, json=course))
    yield made
    made.close()


def body_shown(*words, without=()):
    """The body of the one example whose command has all of these words and none of the others."""
    (output,) = (
        outputs[0]
        for command, outputs in examples(README).items()
        if all(word in command for word in words) and not any(word in command for word in without)
    )
    return output.rpartition("\n…\n")[2].strip()


def assert_shown(*words_and_answer, without=()):
    *words, answer = words_and_answer
    assert is_shown(body_shown(*words, without=without), answer.text), answer.text


def test_one_enrollment_is_answered_as_shown(tour):
    accepted = tour.post("enrollment", tour.admin, json=ADA)
    waited = tour.enroll(tour.admin, COURSE, "ada")

    assert (accepted.status_code, waited.status_code) == (202, 200)
    assert_shown("curl -i $API/enrollment ", accepted, without=("Prefer", "gold"))
    assert_shown("Prefer: wait=5", waited)


def test_a_mode_that_the_course_lacks_is_answered_as_shown(tour):
    refused = tour.enroll(tour.edx, COURSE, "ada", mode="gold")

    assert refused.status_code == 400
    assert_shown("gold", refused)


def test_a_file_comes_to_what_is_shown(tour):
    tour.enroll(tour.admin, COURSE, "ada")
    file = examples(README)["cat term.csv"][0].strip() + "\n"
    sent = tour.post("submissions", tour.admin, body=file, headers={"Content-Type": "text/csv"})
    tour.work()

    address = sent.headers["location"]
    status = tour.get(address, tour.admin)
    outcomes = tour.get(f"{address}/outcomes", tour.admin, headers={"Accept": "text/csv"})

    assert_shown("Idempotency-Key", sent)
    shown = body_shown("Prefer: wait=10").replace("\n ", "")
    assert is_shown(shown, status.text), status.text
    lines = outcomes.text.removeprefix("\ufeff").splitlines()
    assert lines == body_shown("text/csv", "/outcomes").splitlines()
