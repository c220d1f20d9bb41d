"""The history of a run: operations of clients and injected faults, one JSON line each.

A client writes ``invoke`` before it sends and ``ok``, ``fail`` or ``unknown`` when it knows the
result; a fault injector writes ``start``, ``witness`` and ``stop``. The process that writes is
never killed.
"""

import json
import os
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

#: Seconds between two calls of fsync.
SYNC_SECONDS = 1.0


class Op(StrEnum):
    """The operation of a record."""

    #: POST /enrollment.
    SINGLE = "single"
    #: POST /submissions.
    FILE = "file"
    #: The same key with another body, which must be refused.
    REUSE = "reuse"
    #: GET /submissions/{id}.
    STATUS = "status"
    #: GET /submissions/{id}/outcomes.
    OUTCOMES = "outcomes"
    #: GET /enrollment/{username},{course_id} after an outcome was known.
    ENROLLMENT = "enrollment"
    #: GET /changes.
    FEED = "feed"
    #: PUT /courses/{id}.
    COURSE = "course"
    #: A fault: started, witnessed, stopped.
    FAULT = "fault"
    #: A remark that no check uses.
    NOTE = "note"


class Phase(StrEnum):
    """The progress of an operation."""

    INVOKE = "invoke"
    OK = "ok"
    #: It certainly had no effect.
    FAIL = "fail"
    #: It may have had its effect or not.
    UNKNOWN = "unknown"
    #: Of a fault.
    START = "start"
    WITNESS = "witness"
    STOP = "stop"
    #: Of all faults: from now on nothing is broken.
    HEAL = "heal"


class Record(NamedTuple):
    """One line of a history."""

    #: Its line in the file, from 1.
    number: int
    #: Seconds since 1970; monotonic within one history.
    t: float
    client: str
    op: Op
    phase: Phase
    #: The Idempotency-Key.
    key: str | None = None
    #: The HTTP status.
    status: int | None = None
    #: The submission.
    id: str | None = None
    #: All other members.
    facts: Mapping[str, Any] = {}


class ActiveFault:
    """A fault that is active."""

    def __init__(self, history: "History", fault: str) -> None:
        self._history = history
        self.fault = fault

    def witness(self, **facts: object) -> None:
        """Records evidence that it took effect."""
        self._history.write(Op.FAULT, Phase.WITNESS, client="fault", fault=self.fault, **facts)


class History:
    """A file of records; any number of threads may write."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path.open("a", encoding="utf-8")
        self._lock = threading.Lock()
        self._begun = time.time() - time.monotonic()
        self._synced = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def now(self) -> float:
        """Returns the seconds since 1970 by a clock that is never set."""
        return self._begun + time.monotonic()

    def write(
        self,
        op: Op,
        phase: Phase,
        *,
        client: str,
        key: str | None = None,
        status: int | None = None,
        id: str | None = None,  # noqa: A002 (the name in the file)
        **facts: object,
    ) -> float:
        """Appends a record; returns its time. Facts must be JSON values."""
        kept: dict[str, object] = {"client": client, "op": op, "phase": phase}
        given = {"key": key, "status": status, "id": id}
        kept |= {name: value for name, value in given.items() if value is not None}
        with self._lock:
            t = self.now()
            line = json.dumps({"t": t, **kept, **facts}, separators=(",", ":"))
            self._file.write(line + "\n")
            self._file.flush()
            if time.monotonic() - self._synced > SYNC_SECONDS:
                self._sync()
        return t

    @contextmanager
    def fault(self, fault: str, **facts: object) -> Iterator[ActiveFault]:
        """Records the start and the stop of a fault around the block."""
        self.write(Op.FAULT, Phase.START, client="fault", fault=fault, **facts)
        try:
            yield ActiveFault(self, fault)
        finally:
            self.write(Op.FAULT, Phase.STOP, client="fault", fault=fault)

    def heal(self) -> float:
        """Records that all faults are healed."""
        return self.write(Op.FAULT, Phase.HEAL, client="fault")

    def close(self) -> None:
        """Flushes the file to disk and closes it."""
        with self._lock:
            if not self._file.closed:
                self._file.flush()
                self._sync()
                self._file.close()

    def _sync(self) -> None:
        os.fsync(self._file.fileno())
        self._synced = time.monotonic()


def read_history(path: Path) -> Iterator[Record]:
    """Yields the records of a file in order."""
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            yield record_of(number, json.loads(line))


def record_of(number: int, kept: dict[str, Any]) -> Record:
    """Returns the record of a parsed line."""
    facts = {name: value for name, value in kept.items() if name not in _FIELDS}
    return Record(
        number,
        kept["t"],
        kept["client"],
        Op(kept["op"]),
        Phase(kept["phase"]),
        kept.get("key"),
        kept.get("status"),
        kept.get("id"),
        facts,
    )


_FIELDS = frozenset(Record._fields) - {"number", "facts"}
