"""What a judgement comes to, written set-wise: enrollments, invitations, events, seats."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import lru_cache

from sqlalchemy.orm import Session

from enrollment.domain.batch_decision import BatchDecision, EnrollmentKey
from enrollment.domain.events import Change
from enrollment.storage import courses, enrollments, invitations, learners
from enrollment.storage import events as event_store
from enrollment.storage.enrollments import FIRST_VERSION, EnrollmentWrite
from enrollment.storage.event_ids import event_id
from enrollment.storage.events import NewEvent, encode_state
from worker.processing.decode import DecodedRow
from worker.processing.load import LoadedState

#: A tuple without the call of its class, which takes half of the time of what happens a row.
_new = tuple.__new__
#: The states of a batch are few.
_encode_state = lru_cache(maxsize=1_000)(encode_state)


@contextmanager
def in_flight(
    session: Session,
    judgement: BatchDecision,
    sources: Sequence[DecodedRow],
    loaded: LoadedState,
    *,
    now: datetime,
) -> Iterator[Mapping[int, int]]:
    """Write a judgement; ``sources`` are the rows behind its positions.

    While the database writes one thing the next is made ready, and the block is run: it must
    not ask the session for anything. Gives the number of events of each batch, for their places
    in the feed. Raises Conflict where somebody else was first.
    """
    ids = {name: learner.id for name, learner in loaded.learners.items()}
    strangers = {username for _, username in judgement.enrollments} - ids.keys()
    with learners.insert_new(session, strangers) as newcomers:
        events, newest, numbers = _new_events(judgement.changes, sources, loaded)
        happened = event_store.render_events(session, events, now=now)
    ids |= newcomers
    with event_store.append_pipelined(session, happened):
        writes = enrollments.render_writes(
            session, _enrollment_writes(judgement, loaded, ids, newest), now=now
        )
    with enrollments.write_pipelined(session, writes):
        yield numbers
    invitations.mark_used(session, judgement.invitations_used)
    _take_seats(session, judgement, loaded)


def _new_events(
    happened: Sequence[Change], sources: Sequence[DecodedRow], loaded: LoadedState
) -> tuple[list[NewEvent], dict[EnrollmentKey, int], Counter[int]]:
    """The events, the newest of each enrollment, and how many each batch has."""
    newest = {key: kept.event_id for key, kept in loaded.enrollments.items()}
    numbers: Counter[int] = Counter()
    events = []
    for position, username, course_id, kind, before, after in happened:
        batch_id, submission_id, caller, _, _, _, line, *_ = sources[position]
        key = (course_id, username)
        this = event_id(batch_id, numbers[batch_id])
        numbers[batch_id] += 1
        whose = (course_id, username, submission_id, line, caller)
        states = (before and _encode_state(before), _encode_state(after))
        events.append(_new(NewEvent, (this, newest.get(key), kind, *whose, *states)))
        newest[key] = this
    return events, newest, numbers


def _enrollment_writes(
    judgement: BatchDecision,
    loaded: LoadedState,
    ids: Mapping[str, int],
    newest: Mapping[EnrollmentKey, int],
) -> list[EnrollmentWrite]:
    known = loaded.enrollments
    numbers = {course_id: course.id for course_id, course in loaded.courses.items()}
    writes = []
    for key, enrollment in judgement.enrollments.items():
        course_id, username = key
        before = known.get(key)
        version = FIRST_VERSION if before is None else before.version + 1
        row = (ids[username], numbers[course_id])
        writes.append(_new(EnrollmentWrite, (row, enrollment, version, newest[key])))
    return writes


def _take_seats(session: Session, judgement: BatchDecision, loaded: LoadedState) -> None:
    """Seats are counted in every course with a change, none of which was edited meanwhile."""
    touched = [loaded.courses[course_id] for course_id in sorted(judgement.seats)]
    courses.take_seats(
        session,
        {course.id: judgement.seats[course.course.course_id] for course in touched},
        {course.id: course.revision for course in touched},
    )
