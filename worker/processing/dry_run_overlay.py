"""Overlays: what the rows of a dry run before a batch would have done, for those in it.

An overlay is made of the outcomes that were given, and of nothing else: whichever process
works on the next batch comes to the same one, and one that is lost is read back. It lives in a
temporary file, so that memory does not grow with the dry run.
"""

import sqlite3
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import replace
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy.orm import Session

from enrollment.domain.batch_decision import BatchContext, EnrollmentKey
from enrollment.domain.model import Enrollment
from enrollment.storage.queue import batches
from enrollment.storage.queue.claims import ClaimedBatch
from schemas.dry_run_outcomes import (
    decode_effects,
    decode_enrollment_cells,
    encode_enrollment_cells,
)
from schemas.encoding.compact import pack_json, unpack_json

#: Overlays that one process keeps, so dry runs that it works on at the same time.
MAX_OVERLAYS = 4
#: Seconds after which an overlay that nobody asked for gives way to another.
IDLE_SECONDS = 60.0
#: Batches that one transaction reads back: as long as judging one takes, so that singles wait
#: for no more.
BATCHES_PER_LOAD = 4

_TABLES = """
PRAGMA journal_mode = OFF;
PRAGMA synchronous = OFF;
PRAGMA cache_size = -16000;
CREATE TABLE enrollment (
    course_id TEXT, username TEXT, state BLOB, PRIMARY KEY (course_id, username)
) WITHOUT ROWID;
CREATE TABLE invitation (
    course_id TEXT, email TEXT, used_by TEXT, PRIMARY KEY (course_id, email)
) WITHOUT ROWID;
"""


class OverlayIncomplete(NamedTuple):
    """Outcomes of earlier batches are still to be read back; the rest takes another turn."""


class TooManyDryRuns(NamedTuple):
    """This process works on as many dry runs as it may; the others wait."""


class Overlay:
    """What the batches of one dry run would have done so far."""

    def __init__(self, submission_id: UUID) -> None:
        self.submission_id = submission_id
        #: Monotonic seconds at which it was last asked for.
        self.used = 0.0
        #: Batches that it holds.
        self.batches = 0
        self._seats: Counter[str] = Counter()
        self._kept = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        self._kept.executescript(_TABLES)

    def close(self) -> None:
        """Its file goes."""
        self._kept.close()

    def add(self, outcomes: bytes) -> None:
        """Add what one more batch would have done."""
        traced = list(decode_effects(outcomes))
        states = [
            (*key, pack_json(encode_enrollment_cells(trace.enrollment))) for key, trace in traced
        ]
        used = [
            (course_id, trace.invitation, username)
            for (course_id, username), trace in traced
            if trace.invitation is not None
        ]
        self._kept.execute("BEGIN")
        self._kept.executemany("INSERT OR REPLACE INTO enrollment VALUES (?, ?, ?)", states)
        self._kept.executemany("INSERT OR REPLACE INTO invitation VALUES (?, ?, ?)", used)
        self._kept.execute("COMMIT")
        for (course_id, _), trace in traced:
            self._seats[course_id] += trace.seats
        self.batches += 1

    def apply(self, world: BatchContext, keys: Iterable[EnrollmentKey]) -> BatchContext:
        """The world as it would be; ``keys`` are the enrollments that are looked at."""
        if not self.batches:
            return world
        invitations = {
            pair: invitation._replace(used_by=self._used_by(pair) or invitation.used_by)
            for pair, invitation in world.invitations.items()
        }
        courses = {
            course_id: replace(course, seats_taken=course.seats_taken + self._seats[course_id])
            for course_id, course in world.courses.items()
        }
        would_be = {key: kept for key in keys if (kept := self._enrollment(key)) is not None}
        return replace(
            world,
            courses=courses,
            enrollments={**world.enrollments, **would_be},
            invitations=invitations,
        )

    def _enrollment(self, key: EnrollmentKey) -> Enrollment | None:
        query = "SELECT state FROM enrollment WHERE course_id = ? AND username = ?"
        with closing(self._kept.execute(query, key)) as found:
            row = found.fetchone()
        if row is None:
            return None
        state: Any = unpack_json(row[0])
        return decode_enrollment_cells(state)

    def _used_by(self, pair: EnrollmentKey) -> str | None:
        query = "SELECT used_by FROM invitation WHERE course_id = ? AND email = ?"
        with closing(self._kept.execute(query, pair)) as found:
            row: tuple[str] | None = found.fetchone()
        return None if row is None else row[0]


class Overlays:
    """The overlays of one process."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._open: OrderedDict[UUID, Overlay] = OrderedDict()
        self._monotonic = monotonic

    def up_to(
        self, session: Session, batch: ClaimedBatch
    ) -> Overlay | OverlayIncomplete | TooManyDryRuns:
        """Returns what the batches before one would have done, reading back what is missing."""
        submission_id, ordinal = batch.submission_id or UUID(int=0), batch.ordinal or 0
        overlay = self._open.get(submission_id)
        if overlay is None or overlay.batches > ordinal:
            overlay = self._create(submission_id)
        if overlay is None:
            return TooManyDryRuns()
        self._open.move_to_end(submission_id)
        overlay.used = self._monotonic()
        number = min(BATCHES_PER_LOAD, ordinal - overlay.batches)
        if number:
            given = batches.outcomes_of(session, submission_id, overlay.batches, number)
            self._add(submission_id, overlay, given)
        return OverlayIncomplete() if overlay.batches < ordinal else overlay

    def _add(self, submission_id: UUID, overlay: Overlay, given: Iterable[bytes]) -> None:
        try:
            for outcomes in given:
                overlay.add(outcomes)
        except BaseException:  # half of a batch is worse than none
            self.drop(submission_id)
            raise

    def drop(self, submission_id: UUID) -> None:
        """Nobody needs the overlay any more."""
        overlay = self._open.pop(submission_id, None)
        if overlay is not None:
            overlay.close()

    def close(self) -> None:
        """Closes all overlays and removes their files; they are read back if needed again."""
        for submission_id in list(self._open):
            self.drop(submission_id)

    def _create(self, submission_id: UUID) -> Overlay | None:
        """Makes one, unless all are in use: two that give way to each other would never end."""
        self.drop(submission_id)
        while len(self._open) >= MAX_OVERLAYS:
            oldest, overlay = next(iter(self._open.items()))
            if self._monotonic() - overlay.used < IDLE_SECONDS:
                return None
            self.drop(oldest)
        made = self._open[submission_id] = Overlay(submission_id)
        return made
