"""Compares the enrollments here with those of a destination, and queues what differs."""

from collections.abc import Iterator, Sequence

from enrollment.domain.course_keys import matches_course
from enrollment.domain.destinations.deliveries import QueuedState
from enrollment.domain.destinations.differences import (
    APPLICABLE,
    ComparedState,
    Difference,
    DifferenceKind,
    find_differences,
)
from enrollment.domain.destinations.reports import ReportedDifference
from enrollment.storage.destinations import compared_states, deliveries, reports
from enrollment.storage.destinations.compared_states import ComparisonStart, LastChange
from enrollment.storage.engine.sessions import database_now
from enrollment.storage.events import last_position
from worker.destinations.reports.job import Job
from worker.destinations.reports.portions import portions
from worker.destinations.reports.sorting import sorted_states

#: Enrollments of a page here, and differences of one transaction.
PAGE_STATES, CHUNK = 5_000, 200
#: Name of the count of enrollments that differ because a change is on its way.
IN_TRANSIT, QUEUED, DIFFERENCES = "in_transit", "queued", "differences"


def reconcile(job: Job) -> None:
    """Compares, and stores what differs; if the report is to be applied it is queued, too.

    Both sides are read and sorted in bounded memory, at different times: an enrollment whose last
    change was made or sent since the beginning, waits to be sent, or was not queued yet, is no
    difference. It is on its way.
    """
    _forget_differences(job)
    with job.sessions.read() as session:
        at = job.report.started_at or job.report.created
        start = ComparisonStart(at, last_position(session))
    job.counts.update(dict.fromkeys((*DifferenceKind, DIFFERENCES, IN_TRANSIT, QUEUED), 0))
    job.counts.update({"here": 0, "there": 0})
    there = sorted_states(
        ComparedState(*state[:4]) for page in job.remote_pages() for state in page.states
    )
    number = 0
    for chunk in portions(find_differences(sorted_states(_states_here(job)), there), CHUNK):
        number = _store(job, chunk, number, start)


def _forget_differences(job: Job) -> None:
    """Deletes those that an attempt before found, which was interrupted."""
    is_left = True
    while is_left:
        with job.writing() as session:
            is_left = reports.delete_differences(session, job.report.id, limit=PAGE_STATES)


def _states_here(job: Job) -> Iterator[ComparedState]:
    """Yields the enrollments of this service in the courses of the destination."""
    named, place = job.named_courses(), compared_states.START
    following: compared_states.StatePlace | None = place
    while following is not None:
        with job.sessions.read() as session:
            states, following = compared_states.page(
                session, named, after=following, limit=PAGE_STATES
            )
        for state in states:
            if matches_course(job.courses, state.course_id):
                job.counts["here"] += 1
                yield state


def _store(job: Job, differences: Sequence[Difference], number: int, start: ComparisonStart) -> int:
    """Stores differences behind a number, and queues what applies; returns the last number."""
    with job.writing() as session:
        keys = [each[1:3] for each in differences]
        changes = compared_states.find_last_changes(session, job.stored, keys, start=start)
        found = []
        for difference in differences:
            change = changes.get(difference[1:3])
            if change is not None and change.is_in_transit:
                job.counts[IN_TRANSIT] += 1
                continue
            is_queued = job.report.is_applied and _is_applicable(difference, change)
            number += 1
            found.append(ReportedDifference(number, difference, is_queued))
            job.counts[DIFFERENCES] += 1
            job.counts[difference.kind] += 1
            job.counts[QUEUED] += is_queued
        reports.add_differences(session, job.report.id, found)
        queued = [
            QueuedState(
                *each.difference[1:3],
                changes[each.difference[1:3]].position,
                is_forced=False,
            )
            for each in found
            if each.is_queued
        ]
        deliveries.queue(session, job.stored.id, queued, now=database_now(session))
    return number


def _is_applicable(difference: Difference, change: LastChange | None) -> bool:
    return change is not None and difference.kind in APPLICABLE
