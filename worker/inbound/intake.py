"""Turns messages into submissions: the rules of HTTP, one transaction for many messages."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import chain

import structlog
from celery.exceptions import SoftTimeLimitExceeded
from sqlalchemy.orm import Session

from enrollment.domain.codes import Lane
from enrollment.domain.errors import (
    Conflict,
    DatabaseUnavailable,
    EnrollmentError,
    Overloaded,
)
from enrollment.domain.model import RIGHTS
from enrollment.domain.rules import MAX_CLOCK_SKEW, format_timestamp
from enrollment.domain.submissions import SubmissionOptions
from enrollment.storage import idempotency
from enrollment.storage.engine.sessions import Sessions
from enrollment.storage.queue import open_files
from enrollment.storage.queue.batches import BatchRef
from enrollment.storage.replies import owed_replies
from enrollment.storage.replies.owed_replies import NewReply
from intake_store.group_store import SingleRequest, Storable, StoreResult, store_group
from intake_store.upload import MAX_GROUPED_ROWS, CompleteUpload
from schemas.files.source import FileTooLarge, Limits, UnreadableFile
from schemas.files.splitter import split
from schemas.findings import Rule, at_pointer, finding
from schemas.requests.bulk_objects import JSON_MEDIA_TYPE
from schemas.requests.parsed import InvalidRequest, ParsedRequest
from schemas.requests.schema import load_single
from worker.inbound.key_holders import KeyHolder, KeyHolders
from worker.inbound.messages import (
    MAX_MESSAGE_BYTES,
    MAX_MESSAGE_REQUESTS,
    InboundMessage,
    MessageRefusal,
    internal_error,
    invalid_request,
)
from worker.inbound.receive_traces import receive_spans
from worker.inbound.verdicts import Accepted, Postponed, Verdict, key_reused, verdict_of

log = structlog.get_logger()

#: Maximum age in seconds of a count of a caller's pending rows, and maximum number of counts.
_MAX_COUNT_AGE, _MAX_COUNTS = 1.0, 1_000
#: Attempts of a transaction that conflicts with others.
_ATTEMPTS = 3
_LIMITS = Limits(
    max_bytes=2 * MAX_MESSAGE_BYTES,
    max_rows=MAX_MESSAGE_REQUESTS,
    max_json_bytes=2 * MAX_MESSAGE_BYTES,
    batch_rows=MAX_MESSAGE_REQUESTS,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class InboundIntake:
    """Stores messages. Belongs to one thread."""

    sessions: Sessions
    holders: KeyHolders
    dispatch: Callable[[BatchRef], object]
    max_pending_rows: int
    monotonic: Callable[[], float] = time.monotonic
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    #: Monotonic seconds and number of pending rows, by caller.
    counts: dict[str, tuple[float, int]] = field(default_factory=dict)

    def accept(self, messages: Sequence[InboundMessage]) -> list[Verdict]:
        """Stores messages durably, with the replies that are owed; returns a verdict for each.

        Raises DatabaseUnavailable, Overloaded: some may be stored, and are found when repeated.
        """
        with receive_spans(messages) as traced:
            return self._accept(traced)

    def _accept(self, messages: Sequence[InboundMessage]) -> list[Verdict]:
        verdicts: dict[int, Verdict] = {}
        storable: dict[int, Storable] = {}
        first_byte = self.monotonic()
        for index, message in enumerate(messages):
            prepared = self._prepare(message, first_byte)
            if isinstance(prepared, SingleRequest | CompleteUpload):
                storable[index] = prepared
            else:
                verdicts[index] = prepared
        if storable:
            verdicts |= self._store(messages, storable)
        return [verdicts[index] for index in range(len(messages))]

    def _prepare(self, message: InboundMessage, first_byte: float) -> Storable | Verdict:
        """Returns the checked content of a message, or the verdict on one that is not stored."""
        try:
            holder = self.holders.find(message.api_key)
            return self._check_content(message, holder, first_byte)
        except MessageRefusal as refusal:
            return refusal

    def _check_content(
        self, message: InboundMessage, holder: KeyHolder, first_byte: float
    ) -> Storable | Verdict:
        """Returns the checked content of a message of a caller. Raises MessageRefusal."""
        try:
            if not isinstance(message.content, list):
                return self._single(message, holder, first_byte)
            if self._pending_rows(holder) >= self.max_pending_rows:
                return Postponed(f"{holder.name} has too many rows that are not processed yet")
            return _upload(message, holder, first_byte)
        except (MessageRefusal, EnrollmentError, SoftTimeLimitExceeded):
            raise
        except Exception as error:  # noqa: BLE001 (logged there; it must not keep the others out)
            return self._verdict_of_failure(message, holder.name, error)

    def _single(
        self, message: InboundMessage, holder: KeyHolder, first_byte: float
    ) -> SingleRequest:
        """Returns the single request of a message. Raises MessageRefusal."""
        try:
            received = load_single(message.content)
        except InvalidRequest as error:
            raise invalid_request(tuple(map(at_pointer, error.findings))) from error
        self._check(received.request, holder)
        return SingleRequest(
            holder,
            received.request,
            first_byte,
            key=message.idempotency_key,
            fingerprint=message.fingerprint,
            ignored=received.ignored,
            traceparent=message.traceparent,
        )

    def _check(self, request: ParsedRequest, holder: KeyHolder) -> None:
        """Checks what a server must name, and may state. Raises MessageRefusal."""
        if request.username is None and request.email is None:
            raise MessageRefusal("learner_not_found", "The request names no user and no email.")
        stated = request.requested_at
        if stated is None:
            return
        if not RIGHTS[holder.kind].state_time:
            raise MessageRefusal("not_permitted", "Only a trusted caller may state requested_at.")
        if stated > self.now() + MAX_CLOCK_SKEW:
            text = format_timestamp(stated)
            found = at_pointer(finding("requested_at", text, Rule.IN_THE_FUTURE))
            raise invalid_request((found,))

    def _pending_rows(self, holder: KeyHolder) -> int:
        """Returns the rows of a caller's files that are not processed, counted once a second."""
        now = self.monotonic()
        counted_at, rows = self.counts.get(holder.name, (now - _MAX_COUNT_AGE, 0))
        if now - counted_at >= _MAX_COUNT_AGE:
            if len(self.counts) >= _MAX_COUNTS:
                self.counts.clear()
            with self.sessions.read() as session:
                rows = open_files.count_pending_rows(session, holder.name)
            self.counts[holder.name] = now, rows
        return rows

    def _store(
        self, messages: Sequence[InboundMessage], group: Mapping[int, Storable]
    ) -> dict[int, Verdict]:
        """Stores a group in one transaction; in smaller ones if that fails by an error of ours."""
        try:
            return self._commit(messages, group)
        except (DatabaseUnavailable, Overloaded, SoftTimeLimitExceeded):
            raise
        except Exception:  # noqa: BLE001 (tried again in smaller groups, and logged if it fails alone)
            if len(group) == 1:
                return self._store_again(messages, group)
        indexes = list(group)
        halves = indexes[: len(indexes) // 2], indexes[len(indexes) // 2 :]
        parts = [self._store(messages, {index: group[index] for index in half}) for half in halves]
        return dict(chain.from_iterable(part.items() for part in parts))

    def _store_again(
        self, messages: Sequence[InboundMessage], group: Mapping[int, Storable]
    ) -> dict[int, Verdict]:
        """Stores one message once more; one that fails again is refused, unless it is stored."""
        ((index, member),) = group.items()
        try:
            return self._commit(messages, group)
        except (DatabaseUnavailable, Overloaded, SoftTimeLimitExceeded):
            raise
        except Exception as error:  # noqa: BLE001 (logged there; it must not keep the others out)
            verdict = self._verdict_of_failure(messages[index], member.caller.name, error)
        return {index: verdict}

    def _verdict_of_failure(
        self, message: InboundMessage, caller: str, error: Exception
    ) -> Accepted | MessageRefusal:
        """Returns the verdict on a message on which the service failed.

        It may have failed after the commit, of this attempt or of an earlier one. Then the message
        is found by its id: a sender must be able to rely on a refusal.
        """
        owner = caller, message.idempotency_key
        with self.sessions.read() as session:
            use = idempotency.find(session, {owner}).get(owner)
        if use is None:
            log.error("inbound.not_stored", exc_info=error)
            return internal_error()
        if use.fingerprint != message.fingerprint:
            return key_reused()
        return Accepted(use.submission_id)

    def _commit(
        self, messages: Sequence[InboundMessage], group: Mapping[int, Storable]
    ) -> dict[int, Verdict]:
        """Stores a group in one transaction, and dispatches its batches."""

        def owe_replies(session: Session, results: Sequence[StoreResult]) -> None:
            replies = []
            for index, result in zip(group, results, strict=True):
                stream = messages[index].reply_to
                if stream is not None and not isinstance(result, EnrollmentError):
                    replies.append(NewReply(result.submission_id, stream, messages[index].sent_id))
            owed_replies.insert_all(session, replies)

        for attempt in range(1, _ATTEMPTS + 1):
            try:
                stored = store_group(
                    self.sessions, list(group.values()), self.monotonic, also=owe_replies
                )
                break
            except Conflict as conflict:
                if attempt == _ATTEMPTS:
                    raise DatabaseUnavailable(str(conflict)) from conflict
        for batch in stored.dispatch:
            self.dispatch(batch)
        return {
            index: verdict_of(result) for index, result in zip(group, stored.results, strict=True)
        }


def _upload(message: InboundMessage, holder: KeyHolder, first_byte: float) -> CompleteUpload:
    """Returns the list of a message as an upload. Raises MessageRefusal."""
    try:
        info, batches = split([message.text], media_type=JSON_MEDIA_TYPE, limits=_LIMITS)
        drafts = tuple(batches)
    except UnreadableFile as error:
        raise MessageRefusal(error.code, error.message, (error.finding(),)) from error
    except FileTooLarge as error:
        raise MessageRefusal("too_large", str(error)) from error
    is_small = sum(draft.rows for draft in drafts) <= MAX_GROUPED_ROWS
    return CompleteUpload(
        holder,
        SubmissionOptions(),
        Lane.INTERACTIVE if is_small else Lane.BULK,
        info,
        drafts,
        first_byte,
        key=message.idempotency_key,
        fingerprint=message.fingerprint,
        traceparent=message.traceparent,
    )
