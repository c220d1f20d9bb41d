"""Writes the decision on a batch set-wise: learners, events, enrollments, invitations, seats."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import lru_cache
from typing import NamedTuple

from sqlalchemy.orm import Session

from enrollment.domain.batch_decision import BatchDecision, EnrollmentKey
from enrollment.domain.codes import ChangeKind
from enrollment.domain.events import IMPORT_CALLER, Change
from enrollment.storage import courses, enrollments, invitations, learners
from enrollment.storage import events as event_store
from enrollment.storage.enrollments import FIRST_VERSION, EnrollmentWrite
from enrollment.storage.event_ids import event_id
from enrollment.storage.events import NewEvent, encode_state
from enrollment.storage.people import opt_ins
from worker.processing.load import LoadedState
from worker.processing.people.opt_ins import applied_opt_ins
from worker.processing.row_resolution import DecodedRow

#: Creates a NamedTuple without its `__new__`, which is half of the cost per row (decision 14).
_new = tuple.__new__
#: Cached, since a batch has few different states.
_encode_state = lru_cache(maxsize=1_000)(encode_state)


class WrittenCounts(NamedTuple):
    """Numbers of new rows, each by batch id."""

    events: Mapping[int, int]
    learners: Mapping[int, int]


@contextmanager
def write_decision(
    session: Session,
    decision: BatchDecision,
    sources: Sequence[DecodedRow],
    loaded: LoadedState,
    *,
    now: datetime,
) -> Iterator[WrittenCounts]:
    """Writes a decision, pipelined; `sources` are the rows behind the positions of its changes.

    While the database writes one table the next rows are prepared, and at the end the `with` block
    runs: it must not use the session. Yields the number of events, for their feed positions, and of
    new learners. Raises Conflict where another transaction wrote first.
    """
    ids = {name: learner.id for name, learner in loaded.learners.items()}
    unknown = {username for _, username in decision.enrollments} - ids.keys()
    with learners.insert_new(session, unknown) as new_ids:
        new_events, latest_ids, event_counts = _new_events(decision.changes, sources, loaded)
        events = event_store.render_events(session, new_events, now=now)
        new_learners = _count_learners(unknown, decision.changes, sources)
    ids |= new_ids
    with event_store.append_pipelined(session, events):
        writes = enrollments.render_writes(
            session, _enrollment_writes(decision, loaded, ids, latest_ids), now=now
        )
    with enrollments.write_pipelined(session, writes):
        yield WrittenCounts(event_counts, new_learners)
    invitations.mark_used(session, decision.invitations_used)
    opt_ins.set_many(session, applied_opt_ins(sources, decision.outcomes))
    _take_seats(session, decision, loaded)


def _count_learners(
    new: Collection[str], changes: Sequence[Change], sources: Sequence[DecodedRow]
) -> Counter[int]:
    """Returns the number of new learners by the batch that names each of them first."""
    remaining, counts = set(new), Counter[int]()
    for change in changes:
        if not remaining:
            break
        if change.username in remaining:
            remaining.remove(change.username)
            counts[sources[change.position].batch_id] += 1
    return counts


def _new_events(
    changes: Sequence[Change], sources: Sequence[DecodedRow], loaded: LoadedState
) -> tuple[list[NewEvent], dict[EnrollmentKey, int], Counter[int]]:
    """Returns the events, the latest event id by enrollment, and the number of events by batch."""
    latest_ids = {key: enrollment.event_id for key, enrollment in loaded.enrollments.items()}
    event_counts: Counter[int] = Counter()
    events = []
    for position, username, course_id, kind, before, after in changes:
        batch_id, submission_id, caller, _, _, _, line, *_ = sources[position]
        key = (course_id, username)
        new_id = event_id(batch_id, event_counts[batch_id])
        event_counts[batch_id] += 1
        origin = (course_id, username, submission_id, line, caller)
        states = (before and _encode_state(before), _encode_state(after))
        reported = ChangeKind.IMPORTED if caller.startswith(IMPORT_CALLER) else kind
        events.append(_new(NewEvent, (new_id, latest_ids.get(key), reported, *origin, *states)))
        latest_ids[key] = new_id
    return events, latest_ids, event_counts


def _enrollment_writes(
    decision: BatchDecision,
    loaded: LoadedState,
    learner_ids: Mapping[str, int],
    latest_ids: Mapping[EnrollmentKey, int],
) -> list[EnrollmentWrite]:
    loaded_enrollments = loaded.enrollments
    course_ids = {course_id: course.id for course_id, course in loaded.courses.items()}
    writes = []
    for key, enrollment in decision.enrollments.items():
        course_id, username = key
        before = loaded_enrollments.get(key)
        version = FIRST_VERSION if before is None else before.version + 1
        row_key = (learner_ids[username], course_ids[course_id])
        writes.append(_new(EnrollmentWrite, (row_key, enrollment, version, latest_ids[key])))
    return writes


def _take_seats(session: Session, decision: BatchDecision, loaded: LoadedState) -> None:
    """Counts seats in every course with a change.

    Raises Conflict where one of these courses was edited since it was loaded.
    """
    touched = [loaded.courses[course_id] for course_id in sorted(decision.seats)]
    courses.take_seats(
        session,
        {course.id: decision.seats[course.course.course_id] for course in touched},
        {course.id: course.revision for course in touched},
    )
