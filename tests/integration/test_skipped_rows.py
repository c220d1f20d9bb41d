"""Rows that ask for nothing here: they change nothing, are counted, and are no failure."""

import pytest

from api_gateway.status import queries
from api_gateway.status.queries import OutcomeFilter, OutcomesCursor
from enrollment.domain.codes import Code, Reason, SubmissionResult
from enrollment.storage import submissions
from tests.support.in_process_service import COURSE

HEAD = "course_id,user_id,role,section_id,status,start_date,end_date\n"
SKIPPED = [
    (Code.SKIPPED, Reason.ROLE_NOT_LEARNER),
    (Code.SKIPPED, Reason.STATUS_NOT_APPLICABLE),
    (Code.SKIPPED, Reason.NOT_CURRENT),
    (Code.SKIPPED, Reason.NOT_CURRENT),
]


def canvas(*rows):
    return (HEAD + "".join(f"{COURSE},{row}\n" for row in rows)).encode()


ROWS = [
    "eve,teacher,,active,,",
    "fay,student,,concluded,,",
    "gil,student,,active,2020-01-01,2020-06-01",
    "hal,student,,active,2099-01-01,",
]


def answers(world, file):
    return [(one.code, one.reason) for one in world.outcomes(file)]


def test_rows_that_ask_for_nothing_are_counted_and_make_no_result_partial(world):
    world.course()
    file = world.send(canvas("ada,student,,active,,", *ROWS))
    world.work()

    assert answers(world, file) == [(Code.ENROLLED, None), *SKIPPED]
    submission = world.submission(file)
    assert submission.result is SubmissionResult.SUCCEEDED
    assert submission.tally.counts == {Code.ENROLLED: 1, Code.SKIPPED: 4}
    assert submission.tally.reasons == {
        "role_not_learner": 1,
        "status_not_applicable": 1,
        "not_current": 2,
    }
    assert world.enrollments().keys() == {(COURSE, "ada")}
    world.check()


def test_a_file_of_nothing_else_succeeds(world):
    file = world.send(canvas(*ROWS))
    world.work()

    assert answers(world, file) == SKIPPED
    assert world.submission(file).result is SubmissionResult.SUCCEEDED
    assert world.enrollments() == {}
    world.check()


def test_they_never_fail_an_all_or_nothing_file(world):
    world.course()
    file = world.send(canvas(*ROWS, "ada,student,,active,,"), on_error="abort")
    world.work()

    assert answers(world, file) == [*SKIPPED, (Code.ENROLLED, None)]
    world.check()


def test_a_failure_of_an_all_or_nothing_file_refuses_all_others(world):
    world.course()
    failing = "ada,student,,nonsense,,"
    file = world.send(canvas(*ROWS, failing, "bob,student,,active,,"), on_error="abort")
    world.work()

    aborted = (Code.REFUSED, Reason.ABORTED)
    assert answers(world, file) == [
        *[aborted] * 4,
        (Code.INVALID, Reason.INVALID_ROW),
        aborted,
    ]
    assert world.submission(file).result is SubmissionResult.FAILED
    assert world.enrollments() == {}
    world.check()


def test_a_dry_run_says_the_same(world):
    world.course()
    rows = canvas("ada,student,,active,,", *ROWS)
    rehearsed = world.send(rows, dry_run=True)
    world.work()
    real = world.send(rows)
    world.work()

    assert answers(world, rehearsed) == answers(world, real)
    world.check()


def test_records_are_current_or_not_when_the_file_arrives(world):
    """A file that waits is decided as of its arrival, whenever it is processed."""
    world.course()
    file = world.send(canvas("ada,student,,active,,2026-06-01T00:00:00Z"), hours_ago=24 * 365 * 20)
    late = world.send(canvas("bob,student,,active,,2026-06-01T00:00:00Z"))
    world.work()

    assert world.codes(file) == [Code.ENROLLED]
    assert answers(world, late) == [(Code.SKIPPED, Reason.NOT_CURRENT)]


@pytest.mark.parametrize("word", ["deleted", "inactive"])
def test_a_withdrawal_is_not_skipped_for_its_dates(world, word):
    world.course()
    world.send(canvas("ada,student,,active,,", "bob,student,,active,,"))
    world.work()
    ended = world.send(
        canvas(f"ada,student,,{word},2020-01-01,2020-06-01", f"bob,student,,{word},2099-01-01,")
    )
    world.work()

    assert world.codes(ended) == [Code.DEACTIVATED] * 2


def test_they_can_be_filtered(world):
    world.course()
    file = world.send(canvas("ada,student,,active,,", *ROWS))
    world.work()

    def lines(**how):
        with world.sessions.read() as session:
            head = submissions.find(session, file)
            selected = OutcomeFilter(**how)
            page = queries.read_outcomes_page(session, head, OutcomesCursor(), selected, limit=10)
        return [one.outcome.line for one in page.rows]

    assert lines(codes=frozenset({Code.SKIPPED})) == [3, 4, 5, 6]
    assert lines(reasons=frozenset({"not_current"})) == [5, 6]
