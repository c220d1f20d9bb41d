"""A list that is slow is given up, and nobody who asks for anything else waits for it."""

import pytest
from sqlalchemy import text

from enrollment.storage import migrate
from enrollment.storage.engine.sessions import sessions_for
from tests.support.breakpoints import Breakpoint
from tests.support.gateway import AUDIT, Gateway, fresh

#: The beginning of a list's first statement, and the tables that it reads.
LISTS = {
    "submissions": ("SELECT submission", "submission"),
    "enrollments": ("SELECT enrollment.learner_id, enrollment.course_id", "enrollment"),
    "/api/enrollment/v2/enrollments": (
        "SELECT enrollment.learner_id, enrollment.course_id",
        "enrollment",
    ),
    "changes": ("SELECT event", "event"),
    "courses": ("SELECT course.id, course.revision", "course"),
    "crosswalks/canvas": ("SELECT crosswalk", "crosswalk"),
}
#: More than there are threads for anything.
MANY = 12


@pytest.mark.parametrize("path", LISTS)
def test_while_lists_stand_still_everything_else_is_answered(alone, path):
    course_id = alone.course(AUDIT)
    ann, who = fresh("ann"), alone.admin
    with Breakpoint(alone.sessions, LISTS[path][0]) as standing:
        asked = [alone.start("GET", path, who) for _ in range(MANY)]
        standing.until_reached()
        accepted = alone.post(
            "enrollment",
            alone.key("enroll"),
            json={"user": ann, "course_details": {"course_id": course_id}},
        )
        status = alone.get(accepted.headers["location"], alone.key("enroll"))
        one = alone.get(f"enrollment/{ann},{course_id}", alone.key("read"))
        still = [future.done() for future in asked]
        standing.go_on()
        answers = [alone.result(future) for future in asked]

    assert (accepted.status_code, status.status_code, one.status_code) == (202, 200, 200)
    assert still == [False] * MANY
    assert [answer.status_code for answer in answers] == [200] * MANY


@pytest.fixture
def locked(postgres_url):
    """A gateway on PostgreSQL, and a session that can lock its tables."""
    migrate.upgrade(postgres_url)
    gateway, other = Gateway(postgres_url), sessions_for(postgres_url, pool_size=1)
    yield gateway, other
    gateway.close()
    other.dispose()


@pytest.mark.parametrize("path", LISTS)
def test_a_list_that_takes_too_long_is_503_and_says_what_to_do(locked, path):
    gateway, other = locked
    with other.begin() as session:
        session.execute(text(f"LOCK TABLE {LISTS[path][1]} IN ACCESS EXCLUSIVE MODE"))
        answer = gateway.get(path, gateway.edx | gateway.staff)

    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) >= 1
    assert "list" in answer.json.get("detail", answer.json.get("message"))
    assert gateway.get(path, gateway.edx | gateway.staff).status_code == 200
