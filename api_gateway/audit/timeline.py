"""Timeline of a violation: the stored history of its submission, batch and enrollment."""

import zlib
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from sqlalchemy.orm import Session

from enrollment.domain.audit.violations import Step, ViolationSubject
from enrollment.domain.model import Outcome
from enrollment.domain.submissions import Submission, is_cancelled_as_whole
from enrollment.storage import submissions
from enrollment.storage.audit import timeline as timeline_queries
from enrollment.storage.audit.timeline import BatchTimeline, EventLink
from enrollment.storage.event_ids import batch_id_of
from enrollment.storage.views import enrollment_views
from schemas.outcomes import decode_outcomes

#: Sorts steps without a time first.
_UNKNOWN_TIME = datetime.min.replace(tzinfo=UTC)


def decode_or_none(stored: bytes | None) -> list[Outcome] | None:
    """Returns the outcomes in a stored value; None if it cannot be decoded."""
    try:
        return decode_outcomes(stored or b"")
    except (ValueError, KeyError, TypeError, IndexError, zlib.error):
        return None


def timeline(session: Session, about: ViolationSubject) -> list[Step]:
    """Returns the steps of the timeline of a violation, oldest first."""
    links = _load_links(session, about)
    about = _add_request(about, links)
    submission = None
    if about.submission_id is not None:
        submission = submissions.find(session, about.submission_id)
    steps = [] if submission is None else list(_submission_steps(submission))
    batch_id = _find_batch_id(about, submission)
    batch = None
    if batch_id is not None:
        batch = timeline_queries.load_batch_timeline(session, batch_id)
    if batch is not None:
        steps += [*_batch_steps(batch), *_outcome_steps(batch, about, submission)]
    elif batch_id is not None:
        steps.append(Step(None, f"batch {batch_id} is not stored"))
    steps += map(_event_step, links)
    return sorted(steps, key=lambda step: step.at or _UNKNOWN_TIME)


def _add_request(about: ViolationSubject, links: Sequence[EventLink]) -> ViolationSubject:
    """Adds the submission and line of the event if only the event is known."""
    if about.submission_id is None:
        for link in links:
            if link.id == about.event_id:
                return about._replace(submission_id=link.submission_id, line=link.line)
    return about


def _find_batch_id(about: ViolationSubject, submission: Submission | None) -> int | None:
    if about.batch_id is not None:
        return about.batch_id
    if about.event_id is not None:
        return batch_id_of(about.event_id)
    return None if submission is None else submission.batch_id


def _submission_steps(submission: Submission) -> Iterator[Step]:
    received = f"{submission.kind} {submission.id} of {submission.caller} received"
    yield Step(submission.received_at, received)
    for at, description in (
        (submission.cancel_asked_at, "cancellation requested"),
        (submission.started_at, "first batch processed"),
        (submission.finished_at, "last batch processed"),
    ):
        if at is not None:
            yield Step(at, description)


def _batch_steps(batch: BatchTimeline) -> Iterator[Step]:
    name = f"batch {batch.id}"
    if batch.waiting_since is not None:
        yield Step(batch.waiting_since, f"{name} dispatched, requests: {batch.requests}")
    if batch.repeats:
        yield Step(batch.announced_at, f"{name} re-dispatched, {batch.repeats} times in all")
    if batch.attempts:
        yield Step(None, f"{name} has {batch.attempts} failed attempts")
    if batch.parked_at is not None:
        yield Step(batch.parked_at, f"{name} parked")
    if batch.answered_at is not None:
        yield Step(batch.answered_at, f"{name} processed")


def _outcome_steps(
    batch: BatchTimeline, about: ViolationSubject, submission: Submission | None
) -> Iterator[Step]:
    is_known = batch.outcomes is not None and not is_cancelled_as_whole(batch.outcomes)
    if about.line is None or not is_known:
        return
    outcomes = decode_or_none(batch.outcomes)
    if outcomes is None:
        yield Step(batch.answered_at, "outcomes cannot be decoded")
    for outcome in _select_outcomes(outcomes or (), about.line, submission):
        reason = f", {outcome.reason}" if outcome.reason else ""
        description = f"{outcome.user} in {outcome.course_id}: {outcome.code}{reason}"
        yield Step(batch.answered_at, f"outcome of line {outcome.line}: {description}")


def _select_outcomes(
    outcomes: Sequence[Outcome], line: int, submission: Submission | None
) -> Sequence[Outcome]:
    """Returns the outcome of a single request by position, or those of a file by line."""
    if submission is not None and submission.position is not None:
        return outcomes[submission.position : submission.position + 1]
    return [outcome for outcome in outcomes if outcome.line == line]


def _load_links(session: Session, about: ViolationSubject) -> list[EventLink]:
    """Loads the last events of the enrollment, and those up to the event of the violation."""
    newest = None
    if about.username is not None and about.course_id is not None:
        newest = enrollment_views.newest_event(session, about.username, about.course_id)
    starts = {number for number in (about.event_id, newest) if number is not None}
    chains = (timeline_queries.load_chain(session, start) for start in starts)
    links = {link.id: link for chain in chains for link in chain}
    return sorted(links.values(), key=lambda link: link.position or 0)


def _event_step(link: EventLink) -> Step:
    place = "outside the feed" if link.position is None else f"at {link.position} of the feed"
    description = f"{link.kind}, from {link.before or 'nothing'} to {link.after}"
    request = f"line {link.line} of {link.submission_id}"
    return Step(link.at, f"event {link.id} {place}: {description}, by {request}")
