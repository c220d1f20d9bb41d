"""A client that sends requests while the database fails, and checks the answers afterwards."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any
from uuid import UUID

from enrollment.domain.codes import Code
from enrollment.domain.errors import Conflict, DatabaseUnavailable
from enrollment.storage.upkeep import retention
from tests.support.breakpoints import Side
from tests.support.gateway import AUDIT, Gateway, ahead, fresh
from tests.support.in_process_service import World
from tests.support.service_processes import wait_until

#: Seconds within which every request must be answered, whatever state the database is in.
BOUND = 15.0
NDJSON = {"Content-Type": "application/x-ndjson"}


class OutageClient:
    """Sends each change under a key; repeats those without an answer."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self.course_id = gateway.course(AUDIT)
        #: By key: the change, and the submission id if one was returned.
        self._sent: dict[str, dict[str, Any]] = {}
        self.told: dict[str, str | None] = {}
        self.refused = 0

    # --- requests -------------------------------------------------------------------------

    def ask(self) -> Any:
        """Sends one enrollment of a new learner."""
        key = fresh("wish-")
        body = {"user": fresh("learner"), "course_details": {"course_id": self.course_id}}
        return self._send(key, {"path": "enrollment", "json": body, "headers": {}})

    def hand_in(self, rows: int = 5) -> Any:
        """Sends a file of new learners."""
        asked = [{"user": fresh("learner"), "course_id": self.course_id} for _ in range(rows)]
        body = "\n".join(map(json.dumps, asked))
        return self._send(fresh("file-"), {"path": "submissions", "body": body, "headers": NDJSON})

    def _send(self, key: str, what: dict[str, Any]) -> Any:
        self._sent[key] = what
        self.told.setdefault(key, None)
        headers = {**what["headers"], "Idempotency-Key": key}
        began = time.monotonic()
        answer = self.gateway.post(headers=headers, who=self.gateway.edx, **_but(what, "headers"))
        assert time.monotonic() - began < BOUND
        if answer.status_code == 202:
            submission_id = answer.json["submission_id"]
            assert self.told[key] in {None, submission_id}, "one key, two submissions"
            self.told[key] = submission_id
        else:
            assert_unavailable(answer)
            self.refused += 1
        return answer

    def asks_until(self, status: int, at_most: int = 200) -> Any:
        """Repeats a request until it gets this status."""
        for _ in range(at_most):
            answer = self.ask()
            if answer.status_code == status:
                return answer
        raise AssertionError(f"{at_most} times the answer was not {status}")

    @contextmanager
    def asking(self, sides: int = 2) -> Iterator[None]:
        """Sends requests and processes batches during the block, and ignores errors."""
        over: list[bool] = []

        def ask_on() -> None:
            while not over:
                self.ask()

        def work_on() -> None:
            while not over:
                with suppress(DatabaseUnavailable, Conflict):
                    self.gateway.work()

        all_sides = [Side(work_on), *(Side(ask_on) for _ in range(sides))]
        try:
            yield
        finally:
            over.append(True)
            for side in all_sides:
                side.join()

    # --- checks ---------------------------------------------------------------------------

    @property
    def accepted(self) -> int:
        """Returns the number of accepted requests."""
        return sum(told is not None for told in self.told.values())

    @property
    def is_ready(self) -> bool:
        """Checks the readiness probe; 503 must carry `Retry-After`."""
        answer = self.gateway.get("/readyz")
        if answer.status_code != 200:
            assert answer.status_code == 503
            assert 0 < int(answer.headers["retry-after"]) <= BOUND
            assert answer.json["findings"]
        return answer.status_code == 200

    def settle(self) -> World:
        """Checks recovery: each change is stored once and has one outcome."""
        for key, what in self._sent.items():
            assert self._send(key, what).status_code == 202
        wait_until(lambda: self.is_ready)
        self.gateway.work()
        with self.gateway.sessions.begin() as session:
            later = ahead(hours=1)
            retention.hide_abandoned_uploads(session, before=later, now=later, limit=100)
            while retention.delete_hidden_files(session, limit=100):
                session.flush()
        world = World(self.gateway.sessions)
        for submission_id in self.told.values():
            codes = world.codes(UUID(submission_id))
            assert set(codes) == {Code.ENROLLED}, codes
        faults = world.faults()
        assert not faults, faults
        assert len(world.events()) == len(world.enrollments())
        return world


def assert_unavailable(answer: Any) -> None:
    """Checks for 503 with `Retry-After`."""
    assert answer.status_code == 503, answer.text
    assert answer.json["code"] == "unavailable"
    assert 0 < int(answer.headers["retry-after"]) <= BOUND


def _but(what: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in what.items() if key != name}
