"""Somebody who asks a gateway while its database fails, and holds it to what it said."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any
from uuid import UUID

from enrollment.domain.codes import Code
from enrollment.domain.errors import Conflict, RecordsUnavailable
from enrollment.storage import retention
from tests.support.breakpoints import Side
from tests.support.gateway import AUDIT, Gateway, ahead, fresh
from tests.support.in_process_service import World
from tests.support.service_processes import wait_until

#: Seconds after which whoever asks must have heard something, however the database is.
BOUND = 15.0
NDJSON = {"Content-Type": "application/x-ndjson"}


class OutageClient:
    """Asks under a key for each wish; what came of one that was not answered it asks again."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self.course_id = gateway.course(AUDIT)
        #: By key: what was sent, and the submission that it was told, if it was told any.
        self._sent: dict[str, dict[str, Any]] = {}
        self.told: dict[str, str | None] = {}
        self.refused = 0

    # --- asking ---------------------------------------------------------------------------

    def ask(self) -> Any:
        """One enrollment of somebody new."""
        key = fresh("wish-")
        body = {"user": fresh("learner"), "course_details": {"course_id": self.course_id}}
        return self._send(key, {"path": "enrollment", "json": body, "headers": {}})

    def hand_in(self, rows: int = 5) -> Any:
        """A file of people who are new."""
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
        """Ask until it is answered so."""
        for _ in range(at_most):
            answer = self.ask()
            if answer.status_code == status:
                return answer
        raise AssertionError(f"{at_most} times the answer was not {status}")

    @contextmanager
    def asking(self, sides: int = 2) -> Iterator[None]:
        """Inside the block people ask and a worker works, whatever comes."""
        over: list[bool] = []

        def ask_on() -> None:
            while not over:
                self.ask()

        def work_on() -> None:
            while not over:
                with suppress(RecordsUnavailable, Conflict):
                    self.gateway.work()

        all_sides = [Side(work_on), *(Side(ask_on) for _ in range(sides))]
        try:
            yield
        finally:
            over.append(True)
            for side in all_sides:
                side.join()

    # --- what must be true ----------------------------------------------------------------

    @property
    def accepted(self) -> int:
        """How many were told that they were taken in."""
        return sum(told is not None for told in self.told.values())

    @property
    def is_ready(self) -> bool:
        """What load balancers hear; who is not ready says when to come again."""
        answer = self.gateway.get("/readyz")
        if answer.status_code != 200:
            assert answer.status_code == 503
            assert 0 < int(answer.headers["retry-after"]) <= BOUND
            assert answer.json["findings"]
        return answer.status_code == 200

    def settle(self) -> World:
        """All is well again by itself: each wish is taken in once, and has its one outcome."""
        for key, what in self._sent.items():
            assert self._send(key, what).status_code == 202
        wait_until(lambda: self.is_ready)
        self.gateway.work()
        with self.gateway.sessions.begin() as session:
            retention.purge_abandoned_uploads(session, before=ahead(hours=1))
        world = World(self.gateway.sessions)
        for submission_id in self.told.values():
            codes = world.codes(UUID(submission_id))
            assert set(codes) == {Code.ENROLLED}, codes
        faults = world.faults()
        assert not faults, faults
        assert len(world.events()) == len(world.enrollments())
        return world


def assert_unavailable(answer: Any) -> None:
    """503, and when to come again."""
    assert answer.status_code == 503, answer.text
    assert answer.json["code"] == "unavailable"
    assert 0 < int(answer.headers["retry-after"]) <= BOUND


def _but(what: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in what.items() if key != name}
