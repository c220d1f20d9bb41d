"""Kills a random process every second while a real file is processed, and compares the result."""

import json
import os
import random
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx

from api_gateway.audit.verify import verify
from tests.fault_lab.fault_injectors.base import armed_failpoints
from tests.fault_lab.history import History, Op, Phase
from tests.fault_lab.report_table import Row
from tests.fault_lab.stack.stack import Stack, StackBroken, wait
from tests.support.row_counts import row_counts
from tests.support.service_processes import API

OULAD = Path(__file__).parents[3] / "shared" / "data" / "oulad"
CODE, TITLE = "1/s", "kill -9 of any process every second while a real file is worked"
#: Slows the workers, so that the file takes a while.
SLOWED = armed_failpoints(worker="work.before_commit=sleep:0.15")
#: Maximum seconds of killing: processes that are killed faster than they start make no progress.
KILLING = 40.0
#: Seconds for the rest of the file.
PATIENCE = 120.0
KILLS = 5  # fewer prove nothing


def missing() -> str:
    """Returns why the data set is not available; empty if it is."""
    return "" if OULAD.is_dir() else "the data set is not in ../shared"


def run(stack: Stack, folder: Path, seed: int) -> Row:
    """Sends the file, kills until it is done, and compares."""
    began = time.monotonic()
    expected: dict[str, int] = json.loads((OULAD / "expected.json").read_text())["first_run"]
    with History(folder / "history.jsonl") as history:
        service = _Service(stack)
        service.send_file("POST", "/courses", OULAD / "courses.ndjson", "application/x-ndjson")
        stack.apply_overrides(SLOWED)
        stack.until_ready()
        accepted = service.send_file("POST", "/submissions", OULAD / "enrollments.csv", "text/csv")
        seconds = round(time.monotonic() - began, 3)
        history.write(Op.FILE, Phase.OK, client="registrar", id=accepted["submission_id"])
        with history.fault(CODE) as active_fault:
            kills = 0
            for fact in _kill_every_second(stack, random.Random(seed)):
                active_fault.witness(**fact)
                kills += 1
        healed = history.heal()
        stack.until_ready()
        body = service.wait_until_done(accepted["submission_id"])
        recovery = history.now() - healed
        counts = {name: number for name, number in body["counts"].items() if number}
        history.write(Op.STATUS, Phase.OK, client="registrar", counts=counts)
    total = counts.pop("total")
    problems = list(_differences(stack, counts, expected))
    is_seen = kills >= KILLS
    return Row(
        fault=CODE,
        title=TITLE,
        database=stack.database.sort,
        seed=seed,
        injections=kills,
        witnessed=kills,
        accepted=total,
        p50=seconds,
        recovery=recovery,
        violations=problems,
        result="violations" if problems else "ok" if is_seen else "unknown",
        doubts=[] if is_seen else [f"only {kills} were killed while it was worked"],
    )


def _differences(stack: Stack, counts: dict[str, int], expected: dict[str, int]) -> Iterator[str]:
    """Yields differences from the expected result, and duplicates."""
    if counts != expected:
        yield f"it came to {counts}, not {expected}"
    kept = row_counts(stack.database.url, "course-v1:OU+%")
    changes = expected["enrolled"] + expected["deactivated"]
    if (kept.events, kept.feed) != (changes, changes):
        yield f"{kept.events} events and {kept.feed} places in the feed, not {changes}"
    yield from map(str, verify(stack.sessions).violations[:20])


def _kill_every_second(stack: Stack, chance: random.Random) -> Iterator[dict[str, object]]:
    """Kills while requests are pending; yields the kills between the first and the last outcome."""
    until = time.monotonic() + KILLING
    while (pending := _pending(stack)) and time.monotonic() < until:
        next_at = time.monotonic() + 1.0
        name, pid = _victim(stack, chance)
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
            if 0 < pending < stack.total():
                yield {"died": name, "pid": pid, "pending": pending}
        time.sleep(max(0.0, next_at - time.monotonic()))


def _pending(stack: Stack) -> int:
    """Waits for a first outcome; returns the number of pending requests."""
    total = stack.total()
    with suppress(StackBroken):
        wait(lambda: stack.pending() < total, "a first answer", seconds=10)
    return stack.pending()


def _victim(stack: Stack, chance: random.Random) -> tuple[str, int]:
    """Returns any live process of the service: gateway, worker, schedule, pool child."""
    found = [
        *((one.name, one.family()[:1]) for one in stack.processes),
        *((f"child of {one.name}", one.children()) for one in stack.workers),
    ]
    return chance.choice([(name, pid) for name, pids in found for pid in pids])


class _Service:
    """A client that repeats each request on either gateway until it is answered."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._numbers = iter(range(10**9))

    def send_file(self, method: str, path: str, file: Path, sort: str) -> dict[str, Any]:
        """Sends a file until it is accepted."""
        key = f"registrar-{file.name}"
        headers = {"Content-Type": sort, "Idempotency-Key": key}
        return self._repeat_until_answered(method, path, content=file.read_bytes(), headers=headers)

    def wait_until_done(self, submission_id: str) -> dict[str, Any]:
        """Returns the submission when it is done."""
        body: dict[str, Any] = {}

        def is_done() -> bool:
            body.update(self._repeat_until_answered("GET", f"/submissions/{submission_id}"))
            return body["state"] == "done"

        wait(is_done, "the file is done", seconds=PATIENCE)
        return body

    def _repeat_until_answered(self, method: str, path: str, **parts: Any) -> dict[str, Any]:
        answers: list[httpx.Response] = []
        headers = {"Authorization": f"Bearer {self._stack.key}", **parts.pop("headers", {})}

        def is_answered() -> bool:
            url = self._stack.urls[next(self._numbers) % len(self._stack.urls)]
            with suppress(httpx.TransportError):
                answer = httpx.request(
                    method, f"{url}{API}{path}", headers=headers, timeout=30, **parts
                )
                answers.append(answer)
                return not answer.is_server_error and answer.status_code != httpx.codes.CONFLICT
            return False

        wait(is_answered, f"{method} {path} is answered")
        answer = answers[-1]
        if not answer.is_success:
            raise StackBroken(f"{method} {path}: {answer.status_code} {answer.text[:300]}")
        body: dict[str, Any] = answer.json()
        return body
