"""Workers count batches, attempts, rows by outcome, and requests of the ways in."""

import pytest
from prometheus_client import REGISTRY

from enrollment.domain.errors import Conflict, DatabaseUnavailable, StatementTimeout
from tests.support.in_process_service import request, row
from worker.inbound.messages import MessageRefusal
from worker.inbound.verdicts import Accepted, Postponed, count_verdicts
from worker.processing.transaction import ProbePassed, ProcessedBatches, count_result


@pytest.fixture
def gained():
    """Runs something; returns by how much a metric grew."""

    def run(work, name, **labels):
        before = REGISTRY.get_sample_value(name, labels) or 0.0
        work()
        return (REGISTRY.get_sample_value(name, labels) or 0.0) - before

    return run


def test_rows_are_counted_by_outcome_and_reason(world, gained):
    world.course()

    def work():
        world.ask(request("ada"))
        world.send([row("bob"), row("cem"), row("dan", course_id="course-v1:No+Such+One")])
        world.work()

    before = REGISTRY.get_sample_value("enroll_batches_total")
    refused = "enroll_row_reasons_total", {"reason": "course_not_found"}
    reasons = REGISTRY.get_sample_value(*refused) or 0.0
    assert gained(work, "enroll_rows_total", outcome="enrolled") == 3
    assert (REGISTRY.get_sample_value(*refused) or 0.0) - reasons == 1
    assert REGISTRY.get_sample_value("enroll_batches_total") - before == 2


@pytest.mark.parametrize(
    ("result", "name"),
    [
        (ProcessedBatches((1,)), "done"),
        (ProbePassed(), "deferred"),
        (Conflict("x"), "conflict"),
        (StatementTimeout("x"), "timeout"),
        (DatabaseUnavailable("x"), "unavailable"),
        (KeyError("x"), "failed"),
    ],
)
def test_attempts_are_counted_by_their_end(result, name, gained):
    def count():
        count_result(result, 0.2)

    assert gained(count, "enroll_batch_attempts_total", result=name) == 1
    assert gained(count, "enroll_batch_duration_seconds_count") == 1


def test_an_attempt_that_found_nothing_is_none(gained):
    def count():
        count_result(ProcessedBatches(), 0.2)

    assert gained(count, "enroll_batch_duration_seconds_count") == 0


def test_requests_of_the_ways_in_are_counted(gained):
    verdicts = [Accepted(None), Accepted(None), Postponed("x"), MessageRefusal("c", "m")]

    def count():
        count_verdicts(verdicts)

    assert gained(count, "enroll_inbound_requests_total", result="accepted") == 2
    assert gained(count, "enroll_inbound_requests_total", result="postponed") == 1
    assert gained(count, "enroll_inbound_requests_total", result="refused") == 1
