"""A real file: every registration and withdrawal of a university over two years."""

import json
from pathlib import Path

import pytest

from enrollment.domain.codes import Code, Reason, State, SubmissionResult
from schemas.fields import parse_timestamp
from tests.support.in_process_service import ADMIN

DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "oulad"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not DATA.is_dir(), reason=f"there is no {DATA}"),
]


def load_courses(world):
    for line in (DATA / "courses.ndjson").read_text().splitlines():
        course = json.loads(line)
        world.course(
            course["course_id"],
            modes=[mode["slug"] for mode in course["course_modes"]],
            enrollment_start=parse_timestamp(course["enrollment_start"]),
            enrollment_end=parse_timestamp(course["enrollment_end"]),
        )


def run(world):
    """Hand the file in, and work it off."""
    file = world.send((DATA / "enrollments.csv").read_bytes(), caller=ADMIN)
    world.work()
    head = world.submission(file)
    assert head.state is State.DONE
    return head


def test_the_file_comes_to_what_is_expected_and_sent_again_changes_nothing(world):
    expected = json.loads((DATA / "expected.json").read_text())
    load_courses(world)

    first = run(world)
    enrollments, events = world.enrollments(), world.events()
    second = run(world)

    assert first.total == second.total == expected["rows"]
    assert dict(first.tally.counts) == expected["first_run"]
    assert dict(first.tally.reasons) == {
        Reason.ENROLLMENT_CLOSED: expected["first_run"][Code.REFUSED]
    }
    assert first.result is SubmissionResult.PARTIAL
    assert len(enrollments) == expected["enrollment_records"]
    assert sum(state.is_active for state in enrollments.values()) == expected["active"]
    assert len({username for _, username in enrollments}) <= expected["learners"]
    assert len({course_id for course_id, _ in enrollments}) == expected["courses"]
    assert dict(second.tally.counts) == expected["second_run"]
    assert world.enrollments() == enrollments
    assert world.events() == events
    world.check()
