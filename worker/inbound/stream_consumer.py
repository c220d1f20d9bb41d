"""Reads the request stream with a consumer group, and acknowledges what is stored.

An entry is acknowledged after the commit of its submission, and then deleted, as it bears a key.
Before, it is pending: its consumer reads it again after an error, and another one claims it if its
consumer is gone. Repeated entries are found by their id.
"""

import re
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import orjson
import structlog
from redis import Redis, ResponseError

from enrollment.runtime.failpoints import Point, fail_point
from worker.inbound.intake import InboundIntake
from worker.inbound.messages import (
    ENTRY_FIELDS,
    MAX_MESSAGE_BYTES,
    MAX_SENT_ID,
    InboundMessage,
    MessageRefusal,
    ReplyStreams,
    entry_message,
    internal_error,
)
from worker.inbound.reply_entries import MAX_REPLIES, refusal_entry
from worker.inbound.verdicts import Postponed, Verdict, count_verdicts

log = structlog.get_logger()

GROUP = "enroll"
#: Entries that are read, and stored by one transaction, at most.
MAX_READ_ENTRIES = 200
#: Milliseconds that a read waits for an entry.
BLOCK_MS = 1_000
#: Seconds between two searches for abandoned entries, and their age in milliseconds.
CLAIM_INTERVAL, ABANDONED_MS = 5.0, 30_000
#: Milliseconds after which a consumer without pending entries is forgotten.
FORGET_MS = 3_600_000
#: Most entries of a dead-letter stream, about.
MAX_DEAD = 10_000

#: Errors of a stream that does not exist, or has no group; the second is that of fakeredis.
_WITHOUT_GROUP = ("NOGROUP", "The XGROUP subcommand requires the key to exist")

#: Fields of a refused entry that its dead letter has, and API keys in them.
_KEPT_FIELDS = frozenset(name.encode() for name in ENTRY_FIELDS - {"key"})
API_KEY = re.compile(rb"enr_[A-Za-z0-9_-]{43}")
#: Fields of an entry as they are received.
_Fields = Mapping[bytes, bytes]


class _Entry(NamedTuple):
    id: bytes
    fields: _Fields


class _Read(NamedTuple):
    """An entry, with its message or the refusal of its form."""

    entry: _Entry
    message: InboundMessage | MessageRefusal


def dead_letter_stream(stream: str) -> str:
    """Returns the name of the stream of entries that are not accepted."""
    return f"{stream}:dead"


@dataclass(slots=True, kw_only=True)
class StreamConsumer:
    """One consumer of the group. Belongs to one thread."""

    redis: Redis
    stream: str
    #: Its name in the group, which no other consumer has.
    name: str
    intake: InboundIntake
    replies: ReplyStreams
    monotonic: Callable[[], float] = time.monotonic
    #: Id after which its own pending entries are read again; None: none is left.
    _after: bytes | None = b"0"
    _claims_at: float = 0.0
    _claim_cursor: bytes = field(default=b"0-0")

    def consume(self, block_ms: int = BLOCK_MS) -> int:
        """Takes in the next entries; returns how many.

        Raises RedisError, DatabaseUnavailable, Overloaded; the entries are then read again.
        """
        try:
            entries = self._next_entries(block_ms)
            if entries:
                self._take_in(entries)
        except ResponseError as error:
            if not str(error).startswith(_WITHOUT_GROUP):
                self._after = b"0"
                raise
            self._create_group()
            return 0
        except BaseException:
            self._after = b"0"
            raise
        return len(entries)

    def close(self) -> None:
        """Leaves the group, unless entries of this consumer are pending."""
        if not self.redis.xpending_range(self.stream, GROUP, "-", "+", 1, consumername=self.name):
            self._forget(self.name)

    def _create_group(self) -> None:
        """Creates the group, from the first entry on, and the stream."""
        try:
            self.redis.xgroup_create(self.stream, GROUP, id="0", mkstream=True)
        except ResponseError as error:
            if not str(error).startswith("BUSYGROUP"):
                raise

    def _next_entries(self, block_ms: int) -> Sequence[_Entry]:
        if self._after is not None:
            entries = self._read(self._after, None)
            self._after = entries[-1].id if entries else None
            if entries:
                return entries
        if self.monotonic() >= self._claims_at:
            entries = self._claim()
            if entries:
                return entries
        return self._read(b">", block_ms)

    def _read(self, after: bytes, block_ms: int | None) -> Sequence[_Entry]:
        found: Any = self.redis.xreadgroup(
            GROUP, self.name, {self.stream: after}, count=MAX_READ_ENTRIES, block=block_ms
        )
        return _entries(found[0][1]) if found else []

    def _claim(self) -> Sequence[_Entry]:
        """Returns entries that their consumers abandoned, or that were postponed a while ago."""
        found: Any = self.redis.xautoclaim(
            self.stream, GROUP, self.name, ABANDONED_MS, self._claim_cursor, count=MAX_READ_ENTRIES
        )
        self._claim_cursor = found[0]
        if self._claim_cursor == b"0-0":
            self._claims_at = self.monotonic() + CLAIM_INTERVAL
            self._forget_consumers()
        return _entries(found[1])

    def _forget_consumers(self) -> None:
        consumers: Any = self.redis.xinfo_consumers(self.stream, GROUP)
        for each in consumers:
            if each["pending"] == 0 and each["idle"] > FORGET_MS:
                self._forget(each["name"])

    def _forget(self, consumer: str | bytes) -> None:
        """Removes a consumer from the group."""
        with suppress(ResponseError):  # the stream may be deleted meanwhile
            self.redis.xgroup_delconsumer(self.stream, GROUP, consumer)

    def _take_in(self, entries: Sequence[_Entry]) -> None:
        """Stores entries, a limited number of bytes at once, and acknowledges each part."""
        part: list[_Entry] = []
        size = 0
        for entry in entries:
            part.append(entry)
            size += sum(map(len, entry.fields.values()))
            if size >= MAX_MESSAGE_BYTES:
                self._store(part)
                part, size = [], 0
        if part:
            self._store(part)

    def _store(self, entries: Sequence[_Entry]) -> None:
        read = [_Read(entry, self._message(entry)) for entry in entries]
        messages = [one.message for one in read if isinstance(one.message, InboundMessage)]
        accepted = iter(self.intake.accept(messages))
        verdicts = [
            next(accepted) if isinstance(one.message, InboundMessage) else one.message
            for one in read
        ]
        fail_point(Point.INBOUND_STORED)
        self._acknowledge(read, verdicts)
        count_verdicts(verdicts)

    def _message(self, entry: _Entry) -> InboundMessage | MessageRefusal:
        try:
            fields = {name.decode(): value.decode() for name, value in entry.fields.items()}
        except UnicodeDecodeError:
            return MessageRefusal("invalid_message", "The fields must be in UTF-8.")
        try:
            return entry_message(fields, self.stream, entry.id.decode(), self.replies)
        except MessageRefusal as refusal:
            return refusal
        except Exception:  # one entry must not keep the others out
            log.exception("inbound.not_stored")
            return internal_error()

    def _acknowledge(self, read: Sequence[_Read], verdicts: Sequence[Verdict]) -> None:
        """Acknowledges and deletes entries, and tells of those that are refused, all at once."""
        with self.redis.pipeline(transaction=True) as pipeline:
            done = []
            for one, verdict in zip(read, verdicts, strict=True):
                if isinstance(verdict, Postponed):
                    log.warning("inbound.postponed", because=verdict.because)
                    continue
                done.append(one.entry.id)
                if isinstance(verdict, MessageRefusal):
                    self._refuse(pipeline, one.entry, verdict)
            if done:
                pipeline.xack(self.stream, GROUP, *done)
                pipeline.xdel(self.stream, *done)
                pipeline.execute()

    def _refuse(self, pipeline: Any, entry: _Entry, refusal: MessageRefusal) -> None:
        """Adds the entry to the dead letters, without keys, and a reply if one is wanted.

        A field of another name is left out, as a key may be in it; the reason names the field.
        """
        log.warning("inbound.refused", entry=entry.id.decode(), code=refusal.code)
        kept: dict[Any, Any] = {
            name: API_KEY.sub(b"enr_...", value[:MAX_MESSAGE_BYTES])
            for name, value in entry.fields.items()
            if name in _KEPT_FIELDS
        }
        reason = {"entry": entry.id, "code": refusal.code, "reason": refusal.message}
        errors = orjson.dumps(refusal.findings)
        dead = {**kept, **reason, "errors": errors}
        pipeline.xadd(dead_letter_stream(self.stream), dead, maxlen=MAX_DEAD, approximate=True)
        reply_to = entry.fields.get(b"reply_to", b"").decode("utf-8", "replace")
        if self.replies.allows(reply_to):
            sent_id = entry.fields.get(b"id", entry.id).decode("utf-8", "replace")[:MAX_SENT_ID]
            reply = refusal_entry(sent_id, refusal)
            pipeline.xadd(reply_to, reply, maxlen=MAX_REPLIES, approximate=True)


def _entries(found: Any) -> list[_Entry]:
    """Returns entries as they are read; one that was deleted has no fields.

    If an entry was deleted, Redis 6.2 claims nothing in its place.
    """
    return [_Entry(entry_id, fields or {}) for entry_id, fields in found if entry_id is not None]
