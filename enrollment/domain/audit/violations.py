"""Violations that an audit of the database can find: their kinds and subjects."""

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple
from uuid import UUID


class ViolationKind(StrEnum):
    """The kind of a violation; its first part names the violated invariant."""

    # Exactly one outcome for each request.
    OUTCOMES_UNREADABLE = "outcomes.unreadable"
    OUTCOMES_MISSING = "outcomes.missing"
    OUTCOMES_NOT_CANCELLED = "outcomes.not_cancelled"
    OUTCOMES_TALLY = "outcomes.tally"
    OUTCOMES_TURN = "outcomes.turn"
    OUTCOMES_LINES = "outcomes.lines"
    OUTCOMES_TOTAL = "outcomes.total"
    OUTCOMES_FINISHED = "outcomes.finished"
    OUTCOMES_BATCH_MISSING = "outcomes.batch_missing"
    OUTCOMES_HEAD_MISSING = "outcomes.head_missing"
    OUTCOMES_WITHOUT_EVENT = "outcomes.without_event"
    # Every enrollment has the state that its events add up to.
    FOLD_STATE = "fold.state"
    FOLD_UNREADABLE = "fold.unreadable"
    FOLD_NEWEST_MISSING = "fold.newest_missing"
    FOLD_NEWEST_FOREIGN = "fold.newest_foreign"
    FOLD_OWNER_MISSING = "fold.owner_missing"
    FOLD_PREVIOUS_MISSING = "fold.previous_missing"
    FOLD_PREVIOUS_FOREIGN = "fold.previous_foreign"
    FOLD_BEFORE = "fold.before"
    FOLD_KIND = "fold.kind"
    FOLD_LOOSE = "fold.loose"
    FOLD_SHARED = "fold.shared"
    # Seats are counted correctly, and never exceed the capacity.
    SEATS_COUNTED = "seats.counted"
    SEATS_BELOW_ZERO = "seats.below_zero"
    SEATS_EXCEEDED = "seats.exceeded"
    # Every event has exactly one position in the feed, after the events that it builds on.
    FEED_GAP = "feed.gap"
    FEED_SPAN = "feed.span"
    FEED_OUTSIDE = "feed.outside"
    FEED_ORDER = "feed.order"
    FEED_UNFOUNDED = "feed.unfounded"


class ViolationSubject(NamedTuple):
    """The subject of a violation; members that are not known are None."""

    batch_id: int | None = None
    submission_id: UUID | None = None
    line: int | None = None
    event_id: int | None = None
    course_id: str | None = None
    username: str | None = None


class Step(NamedTuple):
    """One entry of a timeline; `at` is None where the time is not known."""

    at: datetime | None
    description: str


class Violation(NamedTuple):
    """One broken invariant; only the first violations of a report have a timeline."""

    kind: ViolationKind
    message: str
    about: ViolationSubject = ViolationSubject()
    timeline: Sequence[Step] = ()
