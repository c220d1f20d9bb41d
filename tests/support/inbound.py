"""A way in with a key, a stream and a worker, without processes."""

import json
from datetime import UTC, datetime
from typing import Any

from redis import Redis
from sqlalchemy import select

from api_gateway.auth.api_keys import new_api_key
from enrollment.storage.credentials import api_keys
from enrollment.storage.tables import SubmissionRow
from tests.support.in_process_service import COURSE
from worker.inbound.intake import InboundIntake
from worker.inbound.key_holders import KeyHolders
from worker.inbound.messages import ReplyStreams
from worker.inbound.reply_sender import ReplySender
from worker.inbound.stream_consumer import (
    ABANDONED_MS,
    GROUP,
    StreamConsumer,
    dead_letter_stream,
)

STREAM = "enroll:requests"
REPLIES = f"{STREAM}:reply:sis"
FIXED_KEY = "0123456789abcdef0123456789abcdef"


def one(user="ada", course_id=COURSE, **members):
    """Returns one request."""
    return {"user": user, "course_id": course_id, **members}


def abandon_pending(redis: Redis, stream: str) -> None:
    """Makes the entries that killed consumers held old enough to be claimed, at once."""
    pending: Any = redis.xpending_range(stream, GROUP, "-", "+", 10_000)
    ids = [each["message_id"] for each in pending]
    if ids:
        redis.xclaim(stream, GROUP, "nobody", 0, ids, idle=2 * ABANDONED_MS, justid=True)


class Inbound:
    """Appends entries, consumes them, and reads the replies."""

    def __init__(self, world, redis):
        self.world, self.redis = world, redis
        self.clock = 1_000.0
        self.max_pending_rows = 1_000_000
        self.key = self.new_key("enroll")
        self.replies = ReplyStreams(f"{STREAM}:reply:", frozenset({STREAM}))

    def new_key(self, *scopes, name="sis", expires_at=None):
        text, digest = new_api_key()
        facts = {"name": name, "scopes": frozenset(scopes), "digest": digest}
        with self.world.sessions.begin() as session:
            now = datetime.now(UTC)
            api_keys.add(session, now=now, expires_at=expires_at, **facts)
        return text

    def intake(self):
        def monotonic():
            return self.clock

        return InboundIntake(
            sessions=self.world.sessions,
            holders=KeyHolders(self.world.sessions, FIXED_KEY, monotonic=monotonic),
            dispatch=self.world.rings.append,
            max_pending_rows=self.max_pending_rows,
            monotonic=monotonic,
        )

    def consumer(self, name="one"):
        return StreamConsumer(
            redis=self.redis,
            stream=STREAM,
            name=name,
            intake=self.intake(),
            replies=self.replies,
            monotonic=lambda: self.clock,
        )

    def append(self, *requests, **fields):
        """Appends an entry with one request, or with a list of them; returns its id."""
        content = {"requests": json.dumps(requests)} if len(requests) > 1 else {}
        if len(requests) == 1:
            content = {"request": json.dumps(requests[0])}
        given = {"key": self.key, **content, **fields}
        entry = {name: value for name, value in given.items() if value is not None}
        return self.redis.xadd(STREAM, entry).decode()

    def consume(self, consumer=None):
        """Consumes until nothing is left."""
        consumer = consumer or self.consumer()
        consumer.consume(1)  # makes the group, the first time
        while consumer.consume(1):
            self.clock += 0.001
        return consumer

    def send_replies(self):
        sender = ReplySender(sessions=self.world.sessions, redis=self.redis)
        while sender.send_due():
            self.clock += 0.001

    def entries(self, stream):
        found = self.redis.xrange(stream)
        return [
            {k.decode(): v.decode(errors="replace") for k, v in fields.items()}
            for _, fields in found
        ]

    def dead(self):
        return self.entries(dead_letter_stream(STREAM))

    def left(self):
        """Returns the numbers of entries, and of those that are not acknowledged."""
        return self.redis.xlen(STREAM), self.redis.xpending(STREAM, "enroll")["pending"]

    def submissions(self):
        return len(self.world_submissions())

    def world_submissions(self):
        with self.world.sessions.read() as session:
            return list(session.scalars(select(SubmissionRow.id)))
