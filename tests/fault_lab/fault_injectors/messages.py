"""Message faults: duplicates, other order, malformed messages, messages of other releases."""

import base64
import json
import pickle
import time
import uuid
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from celery import Celery
from sqlalchemy import select

from enrollment.runtime.broker import QueueName, TaskName, broker_settings
from enrollment.storage import migrate
from enrollment.storage.tables import BatchRow
from tests.fault_lab.fault_injectors.base import (
    POSTGRESQL,
    QUEUES,
    SQLITE,
    Fault,
    RunContext,
    armed_failpoints,
    waiting,
)
from tests.fault_lab.stack.stack import Overrides

#: How many of the newest batches are dispatched again.
NEWEST = 12


class _SendsMessages(Fault):
    """Sends messages to the queue beside the service."""

    def __init__(self, context: RunContext) -> None:
        super().__init__(context)
        self.app = Celery("faults", set_as_current=False)
        self.app.conf.update(broker_settings(self.stack.redis.url, client="faults"))
        context.exits.callback(self.app.close)

    def send(self, name: str, args: list[Any], *, queue: QueueName, **kwargs: Any) -> bytes:
        """Sends a message like the service does; returns a substring that identifies it."""
        tag = str(uuid.uuid4())
        self.app.send_task(name, args=args, kwargs=kwargs, queue=queue.value, task_id=tag)
        return tag.encode()

    def newest(self) -> list[int]:
        """Returns the ids of the newest batches."""
        with self.stack.sessions.read() as session:
            ids = session.scalars(select(BatchRow.id).order_by(BatchRow.id.desc()).limit(NEWEST))
            return list(ids)


class DeliveredTenTimes(_SendsMessages):
    code = "F23"
    title = "each message ten times, in both workers at once (S4)"
    short = (POSTGRESQL,)
    pause = (0.1, 0.4)
    copies = 10

    def overrides(self) -> Overrides:
        twice = "ring.sent=duplicate"
        return armed_failpoints(
            gateway=twice,
            worker="work.committed=duplicate;sweep.announced=duplicate;"
            "work.before_commit=sleep:0.03%20",
        )

    def inject(self) -> None:
        batch_ids = self.newest()
        copies = [batch_id for batch_id in batch_ids for _ in range(self.copies)]
        self.random.shuffle(copies)
        for batch_id in copies:
            queue = self.choose([QueueName.INTERACTIVE, QueueName.BULK])
            self.send(TaskName.PROCESS.value, [batch_id], queue=queue)
        if batch_ids:
            self.context.witness(sent=len(copies), of=len(batch_ids))

    def verify(self) -> None:
        """Waits until the queue is empty, and records the number of messages left."""
        with self.queue as client:
            self.context.moment(lambda: not waiting(client), seconds=30)
            self.context.note("messages left", number=waiting(client))


class Reordered(Fault):
    code = "F24"
    title = "waiting messages shuffled, some held up on their way (S4, S5)"
    short = (POSTGRESQL,)
    pause = (0.05, 0.3)

    def overrides(self) -> Overrides:
        return armed_failpoints(worker="task.popped=sleep:0.2%15;work.before_commit=sleep:0.1%5")

    def inject(self) -> None:
        with self.queue as client, ExitStack() as held:
            for worker in self.stack.workers:
                held.enter_context(worker.held())
            self.context.moment(lambda: waiting(client) > 2, seconds=1.2)
            moved = sum(self._shuffle(client, key) for key in QUEUES.values())
        if moved:
            self.context.witness(messages_moved=moved)

    def _shuffle(self, client: Any, key: str) -> int:
        """Shuffles the messages of a queue; returns how many moved."""
        before = client.lrange(key, 0, -1)
        after = self.random.sample(before, len(before))
        if before == after:
            return 0
        with client.pipeline(transaction=True) as together:
            together.delete(key)
            together.rpush(key, *after)
            together.execute()
        return sum(one != other for one, other in zip(before, after, strict=True))


class MalformedMessages(_SendsMessages):
    code = "F26"
    title = "messages that are no JSON, pickles, 10 MB, unknown tasks and ids, other types (S4)"
    pause = (0.1, 0.3)

    def inject(self) -> None:
        sort, put = self.choose(list(self._sorts().items()))
        queue = self.choose([QueueName.INTERACTIVE, QueueName.BULK])
        with self.queue as client:
            known_by = put(client, queue)

            def is_taken() -> bool:
                waiting = client.lrange(QUEUES[queue], 0, -1)
                return not any(known_by in message for message in waiting)

            if self.context.moment(is_taken, seconds=20):
                self.context.witness(poison=sort, queue=queue.value)

    def _sorts(self) -> dict[str, Callable[[Any, QueueName], bytes]]:
        wrong: list[Any] = ["17", -1, 2**70, True, None, 1.5, {"id": 1}, [1], "x" * 1000, 10**9]
        return {
            "no JSON": lambda client, queue: self._put(client, queue, b"\xff\x00 no JSON"),
            "not a message": lambda client, queue: self._put(client, queue, b'{"a": 1}'),
            "a list": lambda client, queue: self._put(client, queue, b"[1, 2]"),
            "body no base64": lambda client, queue: self._raw(client, queue, "%%%"),
            "pickle": self._pickle,
            "10 MB": lambda client, queue: self._put(client, queue, b"x" * 10_000_000),
            "unknown task": lambda _, queue: self.send("no.such.task", [1], queue=queue),
            "wrong argument": lambda _, queue: self.send(
                TaskName.PROCESS.value, [self.choose(wrong)], queue=queue
            ),
            "no argument": lambda _, queue: self.send(TaskName.PROCESS.value, [], queue=queue),
            "two arguments": lambda _, queue: self.send(
                TaskName.PROCESS.value, [1, 2], queue=queue, more=3
            ),
        }

    def _put(self, client: Any, queue: QueueName, message: bytes) -> bytes:
        """Adds the message at the end that is read last; returns a substring that identifies it."""
        client.lpush(QUEUES[queue], message)
        return message[:40]

    def _pickle(self, client: Any, queue: QueueName) -> bytes:
        body = base64.b64encode(pickle.dumps(([1], {}, {}))).decode()
        return self._raw(client, queue, body, kind="application/x-python-serialize")

    def _raw(
        self, client: Any, queue: QueueName, body: str, *, kind: str = "application/json"
    ) -> bytes:
        """Adds a message in kombu's envelope."""
        tag = str(uuid.uuid4())
        message = {
            "body": body,
            "content-type": kind,
            "content-encoding": "utf-8",
            "headers": {"task": TaskName.PROCESS.value, "id": tag, "lang": "py"},
            "properties": {
                "correlation_id": tag,
                "delivery_mode": 2,
                "delivery_info": {"exchange": "", "routing_key": queue.value},
                "priority": 0,
                "body_encoding": "base64",
                "delivery_tag": tag,
            },
        }
        self._put(client, queue, json.dumps(message).encode())
        return tag.encode()

    def heal(self) -> None:
        """Records a violation for each worker that a message ended."""
        for one in self.stack.workers:
            for death in one.new_deaths():
                self.context.problems.append(f"a message ended {death.name} ({death.status})")


class OtherReleases(_SendsMessages):
    code = "F27"
    title = "messages of an older and a newer release; migration while it runs; workers changed"
    where = (SQLITE,)
    pause = (0.1, 0.4)

    def inject(self) -> None:
        before = [one.logged_times("unregistered task") for one in self.stack.workers]
        for batch_id in self.newest()[:5]:
            queue = self.choose([QueueName.INTERACTIVE, QueueName.BULK])
            self.send("batch.rehearse", [batch_id], queue=queue)  # of a newer gateway
            self.send(TaskName.PROCESS.value, [], queue=queue, batch_id=batch_id)  # of an older one
        if self.random.random() < 0.3:
            migrate.upgrade(self.stack.database.url)
        if self.random.random() < 0.3:
            self.choose(self.stack.workers).terminate()
        time.sleep(0.3)
        after = [one.logged_times("unregistered task") for one in self.stack.workers]
        if after > before:
            self.context.witness(unknown_tasks=sum(after) - sum(before))

    def verify(self) -> None:
        self.witness_logged("unregistered task", self.stack.workers)
