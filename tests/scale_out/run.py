"""Rounds in which a gateway's and a worker's host are cut off in silence, and come back."""

import time
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import httpx

from api_gateway.audit.verify import verify
from enrollment.storage.engine.sessions import sessions_for
from tests.scale_out.callers import SINGLES, Callers
from tests.scale_out.deployment import GATEWAYS, WORKERS, Deployment
from tests.scale_out.term import Term
from tests.support.service_processes import wait_until

#: The gateway and the worker of each round.
VICTIMS = (("gateway2", "worker2"), ("gateway1", "worker1"), ("gateway2", "worker1"))
#: Transactions that hosts have at the database, and those of them that have written.
_TRANSACTIONS = """
SELECT count(*), count(backend_xid) FROM pg_stat_activity
WHERE host(client_addr) = ANY(%s) AND xact_start IS NOT NULL
"""
_BATCHES = "SELECT coalesce(sum(batches), 0) FROM process_heartbeat WHERE host = %s"
_ENROLLMENTS = """
SELECT learner.username, course.course_id, enrollment.is_active FROM enrollment
JOIN learner ON learner.id = enrollment.learner_id
JOIN course ON course.id = enrollment.course_id
"""


class Round(NamedTuple):
    """Facts of one round, in seconds since the cut, or since its end (`back`)."""

    victims: tuple[str, str]
    #: Transactions of the two hosts that stayed open at the database without them.
    held: int
    freed: float
    #: Files that were sent from just before the cut on, and when all of them were processed.
    files: int
    processed: float
    #: Single requests that were accepted meanwhile.
    singles: int
    healed: float
    #: Requests that callers had to repeat, by status or error.
    repeated: Counter[str]
    #: The gateway answered callers, and the worker had processed a batch.
    gateway_back: float
    worker_back: float


class Result(NamedTuple):
    """Facts of a whole run; `problems` is empty if nothing was lost."""

    rounds: list[Round]
    outcomes: dict[str, int]
    singles: int
    served: Counter[str]
    seconds: float
    problems: list[str]


class Run:
    """One deployment, its callers, and the files of a term."""

    def __init__(self, deployment: Deployment, term: Term) -> None:
        self._deployment = deployment
        self._network = deployment.network
        self._term = term
        self._files = {f"file{number}": file for number, file in enumerate(term.files)}
        self._callers = Callers(deployment)

    def execute(self, count: int) -> Result:
        """Sends the term in portions: of each round one that the cut strikes, and one after it."""
        began = time.monotonic()
        self._callers.create_courses(self._term.courses)
        names = list(self._files)
        portions = [names[number :: 2 * count] for number in range(2 * count)]
        with self._callers.sending_singles():
            wait_until(self._all_work, self._deployment.log)
            rounds = [
                self._round(VICTIMS[number], *portions[2 * number : 2 * number + 2])
                for number in range(count)
            ]
        outcomes = self._outcomes()
        wait_until(self._all_singles_are_processed, self._deployment.log)
        return Result(
            rounds,
            outcomes,
            len(self._singles()),
            self._callers.served,
            time.monotonic() - began,
            list(self._differences(outcomes)),
        )

    def _round(self, victims: tuple[str, str], struck: list[str], later: list[str]) -> Round:
        log = self._deployment.log
        known, repeated = len(self._singles()), self._callers.failures.copy()
        with self._callers.sending_files(self._named(struck)):
            wait_until(lambda: self._transactions(victims[1:])[1], log)
            cut = time.monotonic()
            for host in victims:
                self._network.isolate(host)
            held, _ = self._transactions(victims)
            wait_until(lambda: not self._transactions(victims)[0], log)
            freed = time.monotonic() - cut
        for name in struck:
            self._callers.counts_of(name)
        processed = time.monotonic() - cut
        wait_until(lambda: self._is_known_dead(victims[1]), log)
        return Round(
            victims,
            held,
            freed,
            len(struck),
            processed,
            len(self._singles()) - known,
            time.monotonic() - cut,
            self._callers.failures - repeated,
            *self._heal(victims, later),
        )

    def _heal(self, victims: tuple[str, str], later: list[str]) -> tuple[float, float]:
        """Sends files to the healed hosts; returns when the gateway and the worker were back."""
        gateway, worker = victims
        served, batches = self._callers.served[gateway], self._batches(worker)
        healed = time.monotonic()
        for host in victims:
            self._network.heal(host)
        log = self._deployment.log
        with self._callers.sending_files(self._named(later)):
            wait_until(lambda: self._callers.served[gateway] > served, log)
            gateway_back = time.monotonic() - healed
            wait_until(lambda: self._batches(worker) > batches, log)
            worker_back = time.monotonic() - healed
        wait_until(self._all_work, log)
        return gateway_back, worker_back

    def _all_work(self) -> bool:
        """Returns whether both gateways answered callers, and both workers and beat live."""
        status = self._ready()
        both = all(self._callers.served[gateway] for gateway in GATEWAYS)
        lives = status.get("workers") == len(WORKERS) and status["beat_age_seconds"] is not None
        return both and lives

    def _is_known_dead(self, worker: str) -> bool:
        findings: list[str] = self._ready().get("findings", [])
        return any(worker in finding and "is dead" in finding for finding in findings)

    def _ready(self) -> Mapping[str, object]:
        try:
            status: Mapping[str, object] = httpx.get(f"{self._deployment.url}/readyz").json()
        except (httpx.TransportError, ValueError):  # by a gateway that is cut off
            return {}
        return status

    def _named(self, names: list[str]) -> dict[str, bytes]:
        return {name: self._files[name] for name in names}

    def _singles(self) -> set[str]:
        return self._callers.accepted.keys() - self._files.keys()

    def _transactions(self, hosts: tuple[str, ...]) -> tuple[int, int]:
        addresses = [self._network.address(host) for host in hosts]
        (counts,) = self._deployment.query(_TRANSACTIONS, [addresses])
        return counts

    def _batches(self, worker: str) -> int:
        ((count,),) = self._deployment.query(_BATCHES, [worker])
        return count

    def _outcomes(self) -> dict[str, int]:
        """Waits until all files are processed; returns their outcomes."""
        counts: Counter[str] = Counter()
        for name in self._files:
            counts.update(self._callers.counts_of(name))
        return dict(counts)

    def _enrollments(self) -> dict[tuple[str, str], bool]:
        rows = self._deployment.query(_ENROLLMENTS)
        return {(user, course): is_active for user, course, is_active in rows}

    def _all_singles_are_processed(self) -> bool:
        enrolled = [course for _, course in self._enrollments() if course == SINGLES]
        return len(enrolled) >= len(self._singles())

    def _differences(self, outcomes: dict[str, int]) -> Iterator[str]:
        """Yields what is lost, doubled, or other than expected."""
        expected = {**self._term.end.outcomes, "total": self._term.rows}
        if outcomes != expected:
            yield f"the files came to {outcomes}, not {expected}"
        wanted = {**self._term.end.active, **{(user, SINGLES): True for user in self._singles()}}
        found = self._enrollments()
        if found != wanted:
            yield f"other enrollments: {sorted(found.items() ^ wanted.items())[:20]}"
        submissions = self._callers.accepted.values()
        if len(set(submissions)) != len(submissions):
            yield "two requests were accepted as one"
        ((stored,),) = self._deployment.query("SELECT count(*) FROM submission")
        if stored != len(submissions):
            yield f"{stored} submissions are stored, not {len(submissions)}"
        sessions = sessions_for(self._deployment.database_url, pool_size=2)
        try:
            yield from map(str, verify(sessions).violations[:20])
        finally:
            sessions.dispose()
