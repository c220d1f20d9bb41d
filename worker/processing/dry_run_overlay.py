"""Overlays of dry runs: the changes that the batches before one would have made.

An overlay is computed from stored outcomes only. So every process computes the same one, and one
that is lost is computed again. It is kept in a temporary SQLite file, so that memory does not grow
with the dry run.
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
from enrollment.storage import submissions
from enrollment.storage.queue import batches
from enrollment.storage.queue.claims import ClaimedBatch
from schemas.dry_run_outcomes import (
    decode_effects,
    decode_enrollment_cells,
    encode_enrollment_cells,
)
from schemas.encoding.compact import pack_json, unpack_json

#: Overlays that one process keeps open: the dry runs that it processes at the same time.
MAX_OVERLAYS = 4
#: An overlay of fewer batches may always be closed for another: it is soon read back.
SMALL_BATCHES = 20
#: Seconds without use after which any overlay may be closed for another.
IDLE_SECONDS = 60.0
#: Batches that one transaction adds to an overlay. That takes as long as processing one batch, so
#: single requests do not wait longer than for a batch.
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
    """Outcomes of earlier batches are still missing in the overlay; the batch must be retried."""


class TooManyDryRuns(NamedTuple):
    """This process has `MAX_OVERLAYS` long dry runs in progress; another one must wait."""


class NoChanges(NamedTuple):
    """The overlay of a first batch: there is no batch before it."""

    submission_id: UUID

    def apply(self, context: BatchContext, _keys: Iterable[EnrollmentKey]) -> BatchContext:
        """Returns the context."""
        return context


class Overlay:
    """The changes that the batches of one dry run would have made so far."""

    def __init__(self, submission_id: UUID) -> None:
        self.submission_id = submission_id
        #: Monotonic seconds of its last use.
        self.used_at = 0.0
        #: Number of batches that it includes.
        self.batches = 0
        self._seats: Counter[str] = Counter()
        self._database = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        self._database.executescript(_TABLES)

    def close(self) -> None:
        """Closes the overlay and deletes its file."""
        self._database.close()

    def add(self, outcomes: bytes) -> None:
        """Adds the effects of one more batch; `outcomes` are its stored outcomes."""
        effects = list(decode_effects(outcomes))
        states = [
            (*key, pack_json(encode_enrollment_cells(effect.enrollment))) for key, effect in effects
        ]
        used_invitations = [
            (course_id, effect.invitation, username)
            for (course_id, username), effect in effects
            if effect.invitation is not None
        ]
        self._database.execute("BEGIN")
        self._database.executemany("INSERT OR REPLACE INTO enrollment VALUES (?, ?, ?)", states)
        self._database.executemany(
            "INSERT OR REPLACE INTO invitation VALUES (?, ?, ?)", used_invitations
        )
        self._database.execute("COMMIT")
        for (course_id, _), effect in effects:
            self._seats[course_id] += effect.seats
        self.batches += 1

    def apply(self, context: BatchContext, keys: Iterable[EnrollmentKey]) -> BatchContext:
        """Returns the context with the overlay's changes; `keys` are the requested enrollments."""
        if not self.batches:
            return context
        invitations = {
            pair: invitation._replace(used_by=self._used_by(pair) or invitation.used_by)
            for pair, invitation in context.invitations.items()
        }
        courses = {
            course_id: replace(course, seats_taken=course.seats_taken + self._seats[course_id])
            for course_id, course in context.courses.items()
        }
        overlaid = {key: found for key in keys if (found := self._enrollment(key)) is not None}
        return replace(
            context,
            courses=courses,
            enrollments={**context.enrollments, **overlaid},
            invitations=invitations,
        )

    def _enrollment(self, key: EnrollmentKey) -> Enrollment | None:
        query = "SELECT state FROM enrollment WHERE course_id = ? AND username = ?"
        with closing(self._database.execute(query, key)) as cursor:
            row = cursor.fetchone()
        if row is None:
            return None
        state: Any = unpack_json(row[0])
        return decode_enrollment_cells(state)

    def _used_by(self, pair: EnrollmentKey) -> str | None:
        query = "SELECT used_by FROM invitation WHERE course_id = ? AND email = ?"
        with closing(self._database.execute(query, pair)) as cursor:
            row: tuple[str] | None = cursor.fetchone()
        return None if row is None else row[0]


class Overlays:
    """The open overlays of one process, least recently used first."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._open: OrderedDict[UUID, Overlay] = OrderedDict()
        self._monotonic = monotonic

    def up_to(
        self, session: Session, batch: ClaimedBatch
    ) -> Overlay | NoChanges | OverlayIncomplete | TooManyDryRuns:
        """Returns the overlay of the batches before one.

        Adds at most `BATCHES_PER_LOAD` missing batches to it.
        """
        submission_id, ordinal = batch.submission_id or UUID(int=0), batch.ordinal or 0
        if not ordinal:
            return NoChanges(submission_id)
        overlay = self._open.get(submission_id)
        if overlay is None or overlay.batches > ordinal:
            overlay = self._create(session, submission_id)
        if overlay is None:
            return TooManyDryRuns()
        self._open.move_to_end(submission_id)
        overlay.used_at = self._monotonic()
        missing = min(BATCHES_PER_LOAD, ordinal - overlay.batches)
        if missing:
            stored = batches.list_outcomes(session, submission_id, overlay.batches, missing)
            self._add(submission_id, overlay, stored)
        return OverlayIncomplete() if overlay.batches < ordinal else overlay

    def _add(self, submission_id: UUID, overlay: Overlay, stored: Iterable[bytes]) -> None:
        try:
            for outcomes in stored:
                overlay.add(outcomes)
        except BaseException:  # a batch that was added in part would be wrong
            self.drop(submission_id)
            raise

    def drop(self, submission_id: UUID) -> None:
        """Closes the overlay of a submission, if there is one."""
        overlay = self._open.pop(submission_id, None)
        if overlay is not None:
            overlay.close()

    def close(self) -> None:
        """Closes all overlays; one that is needed again is computed again."""
        for submission_id in list(self._open):
            self.drop(submission_id)

    def _create(self, session: Session, submission_id: UUID) -> Overlay | None:
        """Opens an empty overlay; returns None where there is no room for it."""
        self.drop(submission_id)
        if len(self._open) >= MAX_OVERLAYS:
            self._drop_finished(session)
        if len(self._open) >= MAX_OVERLAYS and not self._drop_cheapest():
            return None
        created = self._open[submission_id] = Overlay(submission_id)
        return created

    def _drop_finished(self, session: Session) -> None:
        """Closes the overlays of dry runs whose last batch another worker processed."""
        known = submissions.find_all(session, list(self._open))
        for submission_id in list(self._open):
            submission = known.get(submission_id)
            if submission is None or submission.finished_at is not None:
                self.drop(submission_id)

    def _drop_cheapest(self) -> bool:
        """Closes the idle or small overlay with the fewest batches; returns whether there is one.

        A long one in use is not closed: dry runs that close each other's overlay would never
        finish. Of the small ones those with more batches stay open, so that they finish.
        """
        idle_since = self._monotonic() - IDLE_SECONDS
        droppable = [
            (overlay.batches, submission_id)
            for submission_id, overlay in self._open.items()
            if overlay.batches < SMALL_BATCHES or overlay.used_at <= idle_since
        ]
        if not droppable:
            return False
        self.drop(min(droppable)[1])
        return True
