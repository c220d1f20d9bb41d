"""The transaction of a group commit: stores single requests and complete uploads together."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Generic, NamedTuple, TypeVar
from uuid import UUID

from sqlalchemy.orm import Session

from enrollment.domain.codes import Lane
from enrollment.domain.errors import DatabaseUnavailable, EnrollmentError, KeyReused
from enrollment.runtime.failpoints import Point, fail_point
from enrollment.runtime.ids import uuid7s
from enrollment.runtime.tracing.spans import ACTIVE
from enrollment.storage import idempotency, submissions, uploads
from enrollment.storage.engine.sessions import Sessions, database_now
from enrollment.storage.idempotency import KeyOwner, KeyUse
from enrollment.storage.queue import batches, record_states
from enrollment.storage.queue.batches import BatchRef, NewBatch, intake_number
from enrollment.storage.queue.complete_files import BatchesOfFile, insert_files
from enrollment.storage.submissions import NewSingle
from intake_store.submitter import Submitter
from intake_store.upload import CompleteUpload, new_bulk, traced_batch
from intake_store.upload_states import states_of_upload
from schemas.requests.parsed import ParsedRequest
from schemas.requests.single_payload import Single, encode_singles


class SingleRequest(NamedTuple):
    """An authenticated, authorized and validated single request."""

    caller: Submitter
    request: ParsedRequest
    #: Monotonic seconds at which the first byte was read.
    first_byte: float
    request_id: str | None = None
    #: The Idempotency-Key.
    key: str | None = None
    #: SHA-256 of the parts that identify the request; empty without a key.
    fingerprint: bytes = b""
    #: Names of members of its body that are not read.
    ignored: tuple[str, ...] = ()
    #: The context of its trace, if there is one.
    traceparent: str | None = None


#: One member of a group: it becomes one submission.
Storable = SingleRequest | CompleteUpload


class Receipt(NamedTuple):
    """Proof that a submission is durable, stored now or earlier under the same key."""

    submission_id: UUID
    received_at: datetime
    #: The batch that contains the request, or the first batch of the upload; None for a replay.
    batch_id: int | None


#: The result of one member: a receipt, or the error to raise.
StoreResult = Receipt | EnrollmentError

#: Stores more in the transaction of a group, from the result of each member.
AlsoStore = Callable[[Session, Sequence[StoreResult]], None]


class StoredGroup(NamedTuple):
    """The results of one transaction, and the batches to dispatch."""

    results: list[StoreResult]
    dispatch: list[BatchRef]


R = TypeVar("R", SingleRequest, CompleteUpload, Storable)


class _Member(NamedTuple, Generic[R]):
    """One member of a group, with the submission that it becomes."""

    submission_id: UUID
    received_at: datetime
    request: R


def store_group(
    sessions: Sessions,
    group: Sequence[Storable],
    monotonic: Callable[[], float],
    *,
    also: AlsoStore | None = None,
) -> StoredGroup:
    """Stores a group in one transaction; returns one result per member.

    The single requests become one batch; every upload has batches of its own. A member with a key
    that was used before gets the receipt of the earlier request. `also` stores more in the same
    transaction.
    """
    with sessions.begin() as session:
        session.connection()  # the time until there is a connection counts as waiting time
        waited_until = monotonic()
        now = database_now(session)
        ids = uuid7s(now, len(group))
        members = [
            _Member(id_, now - timedelta(seconds=max(0.0, waited_until - one.first_byte)), one)
            for id_, one in zip(ids, group, strict=True)
        ]
        new = _claim_keys(session, members, now)
        first_batches = _insert_new(session, [members[index] for index in new], now)
        results: dict[int, StoreResult] = {
            index: Receipt(members[index].submission_id, members[index].received_at, batch.id)
            for index, batch in zip(new, first_batches, strict=True)
        }
        known = [index for index in range(len(group)) if index not in results]
        results |= _replay(session, {index: group[index] for index in known})
        in_order = [results[index] for index in range(len(group))]
        if also is not None:
            also(session, in_order)
        fail_point(Point.INTAKE_BEFORE_COMMIT)
    fail_point(Point.INTAKE_COMMITTED)
    return StoredGroup(in_order, list(dict.fromkeys(first_batches)))


def _claim_keys(session: Session, members: Sequence[_Member[Storable]], now: datetime) -> list[int]:
    """Claims the Idempotency-Keys; returns the indexes of members without a key or with a new one.

    Waits for transactions that have claimed the same keys.
    """
    uses: dict[KeyOwner, KeyUse] = {}
    for id_, _, request in members:
        if request.key is not None:
            use = KeyUse(request.caller.name, request.key, request.fingerprint, id_)
            uses.setdefault((use.caller, use.key), use)  # the first request with a key claims it
    claimed = idempotency.claim(session, list(uses.values()), now=now)
    claiming = {uses[owner].submission_id for owner in claimed}
    return [
        index
        for index, (id_, _, request) in enumerate(members)
        if request.key is None or id_ in claiming
    ]


def _insert_new(
    session: Session, members: Sequence[_Member[Storable]], now: datetime
) -> list[BatchRef]:
    """Inserts the members; returns the batch of each, the first one of an upload."""
    singles = [
        _Member(id_, received_at, one)
        for id_, received_at, one in members
        if isinstance(one, SingleRequest)
    ]
    bulks = [
        _Member(id_, received_at, one)
        for id_, received_at, one in members
        if isinstance(one, CompleteUpload)
    ]
    batch_of: dict[UUID, BatchRef] = {}
    if singles:
        batch_of = dict.fromkeys(
            [one.submission_id for one in singles], _insert_singles(session, singles, now)
        )
    if bulks:
        batch_of |= _insert_uploads(session, bulks, now)
    return [batch_of[member.submission_id] for member in members]


def _insert_singles(
    session: Session, members: Sequence[_Member[SingleRequest]], now: datetime
) -> BatchRef:
    """Inserts single requests as one batch; returns the batch."""
    singles = [
        Single(id_, one.caller.name, one.caller.kind, received_at, one.request)
        for id_, received_at, one in members
    ]
    batch = NewBatch(len(singles), encode_singles(singles))
    batch_id = batches.insert_batch_of_singles(session, batch, now=now)
    rows = [
        NewSingle(
            id_,
            one.caller.name,
            one.caller.kind,
            received_at,
            one.request_id,
            one.ignored,
            one.traceparent,
        )
        for id_, received_at, one in members
    ]
    submissions.insert_singles(session, rows, batch_id=batch_id)
    traceparents = (row.traceparent for row in rows) if ACTIVE.recorder is not None else ()
    return BatchRef(batch_id, Lane.INTERACTIVE, traceparents=tuple(filter(None, traceparents)))


def _insert_uploads(
    session: Session, members: Sequence[_Member[CompleteUpload]], now: datetime
) -> dict[UUID, BatchRef]:
    """Inserts and publishes uploads; returns the first batch of each, by submission."""
    bulks = [
        new_bulk(one, one.file_info, one.lane, id_, received_at)._replace(
            total=one.rows, published_at=now
        )
        for id_, received_at, one in members
    ]
    files = [
        BatchesOfFile(
            id_,
            [NewBatch(draft.rows, draft.payload) for draft in one.drafts],
            one.lane,
            one.options.must_run_alone,
        )
        for id_, _, one in members
    ]
    uploads.insert_bulks(session, bulks)
    first_batches = insert_files(session, files, now=now)
    for bulk, file in zip(bulks, files, strict=True):
        states = states_of_upload(bulk, [batch.payload for batch in file.batches])
        record_states.insert_all(session, bulk.id, states)
    intake = {id_: intake_number(batch.id, 0) for id_, batch in first_batches.items()}
    uploads.set_intake(session, intake)
    return {id_: traced_batch(first_batches[id_], one.traceparent) for id_, _, one in members}


def _replay(session: Session, repeated: Mapping[int, Storable]) -> dict[int, StoreResult]:
    """Returns the results of members with keys that were used before, by index."""
    if not repeated:
        return {}
    owners = {(one.caller.name, one.key) for one in repeated.values() if one.key is not None}
    uses = idempotency.find(session, owners)
    submissions_by_id = submissions.find_all(session, {use.submission_id for use in uses.values()})
    results: dict[int, StoreResult] = {}
    for index, request in repeated.items():
        use = uses.get((request.caller.name, request.key or ""))
        submission = None if use is None else submissions_by_id.get(use.submission_id)
        if use is not None and use.fingerprint != request.fingerprint:
            first = None if submission is None else submission.id
            results[index] = KeyReused(request.key, first)
        elif use is None or submission is None:
            results[index] = DatabaseUnavailable("an Idempotency-Key was purged meanwhile")
        else:
            results[index] = Receipt(use.submission_id, submission.received_at, None)
    return results
