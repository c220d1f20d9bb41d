"""Prepares and persists claimed batches: normal requests, dry runs, Open edX bulk enrollments.

Each `prepare` function takes locks, decodes the rows and loads the state that they touch. The
prepared batches then decide (a pure function) and persist the decision.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from itertools import groupby
from types import MappingProxyType
from typing import NamedTuple
from uuid import UUID

from sqlalchemy.orm import Session

from enrollment.domain.batch_decision import (
    BatchContext,
    BatchDecision,
    abort_outcome,
    decide_all_or_nothing,
    decide_batch,
)
from enrollment.domain.codes import FAILURE_CODES, Code
from enrollment.domain.dry_run import dry_run_effects
from enrollment.domain.model import Outcome
from enrollment.domain.submissions import SubmissionOptions, Tally
from enrollment.storage import learners
from enrollment.storage.queue.claims import ClaimedBatch
from schemas.dry_run_outcomes import encode_dry_run_outcomes
from schemas.outcomes import encode_outcomes, tally_outcomes
from worker.processing import attempts
from worker.processing.decoded_claim import (
    DecodeCaches,
    DecodedClaim,
    SubmissionsById,
    decode_and_settle,
    decode_claimed,
    with_requests,
)
from worker.processing.dry_run_overlay import NoChanges, Overlay
from worker.processing.load import LoadedState, Locking, load_state
from worker.processing.nearest_courses import add_nearest
from worker.processing.openedx_bulk_enroll import BulkEnrollInvitations
from worker.processing.persist import write_decision
from worker.processing.prefetch import Prefetcher
from worker.processing.record_index import RecordsIncomplete

DEFAULT_OPTIONS = SubmissionOptions()
#: The counts of a dry run.
NOTHING: Mapping[int, int] = MappingProxyType({})


class SiteRules(NamedTuple):
    """Settings of the site that apply where neither a request nor its course states a value."""

    default_mode: str = "audit"
    accepts_unknown_learners: bool = True


DEFAULT_RULES = SiteRules()


class EncodedOutcomes(NamedTuple):
    """The outcomes of one batch in their stored form, and their number by code."""

    encoded: bytes
    tally: Tally


class Persisted(NamedTuple):
    """Outcomes and the numbers of events and of new learners, each by batch id."""

    outcomes: Mapping[int, EncodedOutcomes]
    event_counts: Mapping[int, int]
    learner_counts: Mapping[int, int]

    def tally(self, batch_id: int) -> Tally:
        """Returns the number of outcomes by code, and of new learners, of one batch."""
        learners_created = self.learner_counts.get(batch_id, 0)
        return self.outcomes[batch_id].tally + Tally(learners_created=learners_created)

    @property
    def total(self) -> Tally:
        """The number of outcomes of all batches."""
        counts: Counter[Code] = Counter()
        reasons: Counter[str] = Counter()
        for encoded in self.outcomes.values():
            counts.update(encoded.tally.counts)
            reasons.update(encoded.tally.reasons)
        return Tally(counts=counts, reasons=reasons)


@dataclass(frozen=True, kw_only=True)
class PreparedBatches:
    """Claimed batches, decoded, with the state that their requests touch."""

    decoded: DecodedClaim
    loaded: LoadedState
    context: BatchContext

    def decide(self) -> BatchDecision:
        """Decides the requests, in order; all or none of them where the submission says so."""
        claimed, by_id, _, settled, requests = self.decoded
        if options_of(claimed, by_id).is_atomic:
            failed = [
                item for item in settled if isinstance(item, Outcome) and item.code in FAILURE_CODES
            ]
            return decide_all_or_nothing(requests, self.context, unreadable=len(failed))
        return decide_batch(requests, self.context)

    def outcomes(self, decision: BatchDecision) -> list[Outcome]:
        """Returns one outcome for each row, in order."""
        found = decision.outcomes
        if self.loaded.nearest_courses:
            found = add_nearest(found, self.loaded.nearest_courses)
        if len(self.decoded.requests) == len(self.decoded.settled):
            return found
        decided = iter(found)
        outcomes = [
            item if isinstance(item, Outcome) else next(decided) for item in self.decoded.settled
        ]
        return [abort_outcome(item) for item in outcomes] if decision.is_aborted else outcomes

    def persist(
        self, session: Session, decision: BatchDecision, prefetcher: Prefetcher, *, now: datetime
    ) -> Persisted:
        """Writes the decision; while the database works, encodes outcomes and decodes next batches.

        Raises Conflict where another transaction wrote first.
        """
        outcomes = self.outcomes(decision)
        fetched = prefetcher.fetch_next(session, self.decoded.claimed, self.decoded.by_id)
        sources = self.decoded.sources
        with write_decision(session, decision, sources, self.loaded, now=now) as written:
            encoded = self.encode(outcomes, encode_outcomes)
            fetched.decode()
        return Persisted(encoded, written.events, written.learners)

    def encode(
        self, outcomes: Sequence[Outcome], encode: Callable[[list[Outcome]], bytes]
    ) -> dict[int, EncodedOutcomes]:
        """Encodes the outcomes of each batch; of none where only a prefix is attempted.

        Raises RuntimeError where a request would be left without an outcome.
        """
        claimed, _, rows, *_ = self.decoded
        if attempts.is_probe(claimed[0]):
            return {}
        encoded = {}
        missing = {batch.id: batch.requests for batch in claimed}
        by_row = zip(rows, outcomes, strict=True)
        for batch_id, group in groupby(by_row, key=lambda pair: pair[0].batch_id):
            of_batch = [outcome for _, outcome in group]
            if len(of_batch) != missing.pop(batch_id):
                message = f"batch {batch_id} has {len(of_batch)} outcomes"
                raise RuntimeError(message)
            encoded[batch_id] = EncodedOutcomes(encode(of_batch), tally_outcomes(of_batch))
        if missing:
            message = f"batches {sorted(missing)} have no outcomes"
            raise RuntimeError(message)
        return encoded


@dataclass(frozen=True, kw_only=True)
class PreparedDryRun(PreparedBatches):
    """A batch of a dry run: stores only outcomes, with the effects that each row would have."""

    submission_id: UUID

    def persist(
        self, session: Session, decision: BatchDecision, prefetcher: Prefetcher, *, now: datetime
    ) -> Persisted:
        """Encodes outcomes with their effects, which later batches of the dry run need."""
        encode = partial(encode_dry_run_outcomes, effects=dry_run_effects(decision, self.context))
        return Persisted(self.encode(self.outcomes(decision), encode), NOTHING, NOTHING)


@dataclass(frozen=True, kw_only=True)
class PreparedBulkEnroll(PreparedBatches):
    """An Open edX bulk enrollment: unknown users are invited."""

    invitations: BulkEnrollInvitations

    def outcomes(self, decision: BatchDecision) -> list[Outcome]:
        """Returns one outcome for each row, with the state before and after it."""
        rows, settled = self.decoded.rows, self.decoded.settled
        return list(self.invitations.outcomes(rows, settled, decision, self.loaded))

    def persist(
        self, session: Session, decision: BatchDecision, prefetcher: Prefetcher, *, now: datetime
    ) -> Persisted:
        """Writes the decision and the invitations. Raises as `PreparedBatches.persist` does."""
        persisted = super().persist(session, decision, prefetcher, now=now)
        self.invitations.write(session, now=now)
        return persisted


def prepare(
    session: Session,
    claimed: Sequence[ClaimedBatch],
    by_id: SubmissionsById,
    rules: SiteRules,
    caches: DecodeCaches,
    *,
    locking: Locking,
    now: datetime,
) -> PreparedBatches | RecordsIncomplete:
    """Prepares normal requests. Locks learners against deletion, and then `locking` rows."""
    learners.block_deletion(session)
    decoded = decode_and_settle(session, claimed, by_id, caches)
    if isinstance(decoded, RecordsIncomplete):
        return decoded
    loaded = load_state(session, decoded.requests, locking)
    context = _context(loaded, rules, now)
    return PreparedBatches(decoded=decoded, loaded=loaded, context=context)


def prepare_dry_run(
    session: Session,
    claimed: Sequence[ClaimedBatch],
    by_id: SubmissionsById,
    rules: SiteRules,
    overlay: Overlay | NoChanges,
    caches: DecodeCaches,
    *,
    now: datetime,
) -> PreparedDryRun | RecordsIncomplete:
    """Prepares one batch of a dry run, on the state that earlier batches would have left.

    Takes no locks.
    """
    decoded = decode_and_settle(session, claimed, by_id, caches)
    if isinstance(decoded, RecordsIncomplete):
        return decoded
    loaded = load_state(session, decoded.requests, Locking.NONE)
    keys = {(request.course_id, request.username) for request in decoded.requests}
    return PreparedDryRun(
        decoded=decoded,
        loaded=loaded,
        context=overlay.apply(_context(loaded, rules, now), keys),
        submission_id=overlay.submission_id,
    )


def prepare_bulk_enroll(
    session: Session,
    claimed: Sequence[ClaimedBatch],
    by_id: SubmissionsById,
    rules: SiteRules,
    *,
    locking: Locking,
    now: datetime,
) -> PreparedBulkEnroll:
    """Prepares an Open edX bulk enrollment. Locks as `prepare` does."""
    learners.block_deletion(session)
    _, rows = decode_claimed(session, claimed, by_id, Prefetcher())
    auto_enroll = bool(options_of(claimed, by_id).auto_enroll)
    invitations = BulkEnrollInvitations(session, rows, auto_enroll=auto_enroll)
    decoded = with_requests(claimed, by_id, rows, [invitations.resolve(row) for row in rows])
    loaded = load_state(session, decoded.requests, locking)
    return PreparedBulkEnroll(
        decoded=decoded,
        loaded=loaded,
        context=_context(loaded, rules, now),
        invitations=invitations,
    )


def options_of(claimed: Sequence[ClaimedBatch], by_id: SubmissionsById) -> SubmissionOptions:
    """Returns the options that apply to the batches; a batch with options is claimed alone."""
    submission_id = claimed[0].submission_id
    return DEFAULT_OPTIONS if submission_id is None else by_id[submission_id].options


def _context(loaded: LoadedState, rules: SiteRules, now: datetime) -> BatchContext:
    return BatchContext(
        now=now,
        courses={key: course.course for key, course in loaded.courses.items()},
        enrollments={key: stored.enrollment for key, stored in loaded.enrollments.items()},
        learners={name: learner.learner for name, learner in loaded.learners.items()},
        invitations=loaded.invitations,
        withdrawn_by_others=loaded.withdrawn_by_others,
        course_staff=loaded.course_staff,
        site_default=rules.default_mode,
        accepts_unknown_learners=rules.accepts_unknown_learners,
    )
