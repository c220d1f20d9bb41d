"""An unknown course id is answered with the known one that it was probably meant to be."""

import pytest

from enrollment.domain.codes import Reason
from schemas.outcomes import dump_outcome
from tests.support.in_process_service import request
from tests.support.statements import recorded_statements
from worker.processing.nearest_courses import MAX_UNKNOWN_COURSES

ALGEBRA = "course-v1:DemoX+ALG+2026"


def messages(world, file):
    return [dump_outcome(one).get("message") for one in world.outcomes(file)]


@pytest.mark.parametrize("options", [{}, {"dry_run": True}, {"on_error": "abort"}])
def test_a_misspelt_course_is_named_with_the_nearest_one(world, options):
    for course_id in (ALGEBRA, "course-v1:DemoX+GEO+2026", "course-v1:Other+ALG+2062", "a/b/c"):
        world.course(course_id)
    ids = ["course-v1:DemoX+ALG+2062", "course-v1:DemoX+XYZ+2026", "course-v1:No+ALG+2026", "a/b/d"]
    file = world.send([{"user": "ada", "course_id": it} for it in ids], **options)
    world.work()

    unknown = "check the spelling, or create the course first."
    assert messages(world, file) == [
        f"There is no course {ids[0]}: did you mean {ALGEBRA}?",
        f"There is no course {ids[1]}: {unknown}",
        f"There is no course {ids[2]}: {unknown}",
        "There is no course a/b/d: did you mean a/b/c?",
    ]
    assert world.outcomes(file)[0].details == {"nearest": ALGEBRA}
    assert {one.reason for one in world.outcomes(file)} == {Reason.COURSE_NOT_FOUND}


def test_signs_with_a_meaning_in_patterns_stand_for_themselves(world):
    world.course("course-v1:DemoX+ALG+2026")
    file = world.send([{"user": "ada", "course_id": "course-v1:Demo_+ALG+2026"}])
    world.work()

    assert world.outcomes(file)[0].details is None


def test_it_costs_one_statement_however_many_ids_are_unknown_and_none_without(world):
    world.course(ALGEBRA)

    def statements(*course_ids):
        world.ask(*(request("ada", course_id) for course_id in course_ids))
        with recorded_statements(world.sessions.engine) as seen:
            world.deliver(*world.waiting())
        return [text for text in seen if "LIMIT" in text and "FROM course" in text]

    assert statements(ALGEBRA) == []
    unknown = [f"course-v1:DemoX+ALG+20{n}" for n in range(100, 100 + 3 * MAX_UNKNOWN_COURSES)]
    assert len(statements(*unknown)) == 1
