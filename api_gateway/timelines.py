"""The whole story of one request, one batch or one enrollment, as far as the records tell it."""

import zlib
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from sqlalchemy.orm import Session

from enrollment.domain.auditing import About
from enrollment.domain.model import Outcome
from enrollment.domain.submissions import Submission
from enrollment.storage import listing, lives, submissions
from enrollment.storage.event_ids import batch_id_of
from enrollment.storage.lives import Life, Link
from schemas.outcomes import decode_outcomes

#: What reading outcomes that are not such raises.
UNREADABLE = (ValueError, KeyError, TypeError, IndexError, zlib.error)
_NEVER = datetime.min.replace(tzinfo=UTC)


class Step(NamedTuple):
    """Something that happened, and when, if that is known."""

    at: datetime | None
    what: str


def timeline(session: Session, about: About) -> list[Step]:
    """What happened to what a violation is about, oldest first."""
    links = _links(session, about)
    about = _asked_by(about, links)
    head = None
    if about.submission_id is not None:
        head = submissions.find(session, about.submission_id)
    steps = [] if head is None else list(_of_submission(head))
    batch_id = _batch_of(about, head)
    life = None if batch_id is None else lives.life_of(session, batch_id)
    if life is not None:
        steps += _of_batch(life)
        steps += _of_outcome(life, about, head)
    elif batch_id is not None:
        steps.append(Step(None, f"batch {batch_id} is not kept"))
    steps += [_of_event(link) for link in links]
    return sorted(steps, key=lambda step: step.at or _NEVER)


def _asked_by(about: About, links: Sequence[Link]) -> About:
    """Where only an event is known, it knows whose request it came from."""
    if about.submission_id is not None:
        return about
    for link in links:
        if link.id == about.event_id:
            return about._replace(submission_id=link.submission_id, line=link.line)
    return about


def _batch_of(about: About, head: Submission | None) -> int | None:
    if about.batch_id is not None:
        return about.batch_id
    if about.event_id is not None:
        return batch_id_of(about.event_id)
    return None if head is None else head.batch_id


def _of_submission(head: Submission) -> Iterator[Step]:
    yield Step(head.received_at, f"{head.kind} {head.id} of {head.caller} received")
    for at, what in (
        (head.cancel_asked_at, "cancelling was asked for"),
        (head.started_at, "its first batch was answered"),
        (head.finished_at, "its last batch was answered"),
    ):
        if at is not None:
            yield Step(at, what)


def _of_batch(life: Life) -> Iterator[Step]:
    this = f"batch {life.id}"
    if life.waiting_since is not None:
        yield Step(life.waiting_since, f"{this} announced, requests: {life.requests}")
    if life.repeats:
        yield Step(life.announced_at, f"{this} announced again, for the {life.repeats}. time")
    if life.attempts:
        yield Step(None, f"{this} has {life.attempts} attempts that failed")
    if life.parked_at is not None:
        yield Step(life.parked_at, f"{this} parked")
    if life.answered_at is not None:
        yield Step(life.answered_at, f"{this} answered")


def _of_outcome(life: Life, about: About, head: Submission | None) -> Iterator[Step]:
    if about.line is None or not life.outcomes:
        return
    try:
        outcomes = decode_outcomes(life.outcomes)
    except UNREADABLE as error:
        yield Step(life.answered_at, f"outcomes that cannot be read: {error!r}")
        return
    for outcome in _asked_for(outcomes, about.line, head):
        reason = f", {outcome.reason}" if outcome.reason else ""
        what = f"{outcome.user} in {outcome.course_id}: {outcome.code}{reason}"
        yield Step(life.answered_at, f"outcome of line {outcome.line}: {what}")


def _asked_for(
    outcomes: Sequence[Outcome], line: int, head: Submission | None
) -> Sequence[Outcome]:
    """A single's is at its place; in a file lines differ."""
    if head is not None and head.position is not None:
        return outcomes[head.position : head.position + 1]
    return [outcome for outcome in outcomes if outcome.line == line]


def _links(session: Session, about: About) -> list[Link]:
    """The events of the enrollment, and those before the one that is spoken of."""
    newest = None
    if about.username is not None and about.course_id is not None:
        newest = listing.newest_event(session, about.username, about.course_id)
    starts = {number for number in (about.event_id, newest) if number is not None}
    links = {link.id: link for start in starts for link in lives.chain_of(session, start)}
    return sorted(links.values(), key=lambda link: link.position or 0)


def _of_event(link: Link) -> Step:
    place = "outside the feed" if link.position is None else f"at {link.position} of the feed"
    what = f"{link.kind}, from {link.before or 'nothing'} to {link.after}"
    asked = f"line {link.line} of {link.submission_id}"
    return Step(link.at, f"event {link.id} {place}: {what}, by {asked}")
