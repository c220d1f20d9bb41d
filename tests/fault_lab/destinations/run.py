"""Runs faults of a destination: a second instance of this service behind the first.

Beat (which sends), workers and the LMS's gateway are killed, answers of the LMS are lost, and it
is away for a while. Afterwards both must have the same enrollments, and no state may have been
sent more often than its enrollment was changed and an attempt had no answer.
"""

import json
import random
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime

import httpx
from sqlalchemy import select, update

from enrollment.domain.codes import DeliveryState
from enrollment.domain.errors import EnrollmentError
from enrollment.storage import events
from enrollment.storage.destinations import compared_states
from enrollment.storage.engine.sessions import Sessions
from enrollment.storage.tables import DestinationDeliveryRow, DestinationRow
from enrollment.storage.webhooks import positions
from tests.fault_lab.destinations.lms_proxy import Key, LmsProxy
from tests.fault_lab.destinations.samples import FailingSample
from tests.fault_lab.report_table import Row
from tests.fault_lab.stack.stack import Overrides, Stack, wait
from tests.support.service_processes import ENROLL, bare, client
from worker.destinations.destination_delivery import STATES_PER_CONNECTION

CODE = "F40"
TITLE = "a destination: kill -9 of beat, workers and the LMS's gateway, lost answers, LMS away"
NAME, CONCURRENCY = "lms", 8
_PAGE = 5_000
#: Seconds between two looks at what has arrived: each takes time from the processes.
LOOK_SECONDS = 0.3
#: What the instance that sends is started with.
SENDING = Overrides(
    {
        "": {
            "ENROLL_PRIVATE_DESTINATIONS": "true",
            "ENROLL_ENCRYPTION_KEY": "the same for gateways and beats of a run",
        }
    },
    beats=2,
)
#: Time long past.
PAST = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, kw_only=True)
class DestinationScale:
    """How large a run is."""

    #: How often each fault is injected, and seconds between two.
    rounds: int
    pause: float
    #: Seconds for which the LMS is away.
    away: float
    #: Every so many answers of the LMS one is lost.
    lost_every: int
    #: Seconds until everything has arrived after healing.
    patience: float
    #: After healing the leases and pauses of what failed end at once: a run is shorter.
    ends_leases: bool = False


@dataclass(kw_only=True)
class DestinationRun:
    """One run: the instance that sends, the LMS, and the proxy between them."""

    front: Stack
    lms: Stack
    sample: FailingSample
    scale: DestinationScale
    random: random.Random
    proxy: LmsProxy
    struck: Counter[str] = field(default_factory=Counter)

    def prepare(self) -> None:
        """Makes courses, and the destination."""
        with client(self.lms.urls[0], self.lms.key) as http:
            _post(http, "/courses", self.sample.open_courses)
        with client(self.front.urls[0], self.front.key) as http:
            _post(http, "/courses", self.sample.courses)
            members = {
                "kind": "openedx",
                "url": self.proxy.url,
                "auth": {"api_key": self.lms.key},
                "concurrency": CONCURRENCY,
            }
            http.put(f"/destinations/{NAME}", json=members).raise_for_status()

    def hand_in_and_strike(self) -> None:
        """Hands in the files, and injects each fault while states are sent."""
        faults = [self._kill_worker, self._kill_beats, self._kill_lms, self._be_away]
        files = list(self.sample.files)
        for strike in faults * self.scale.rounds:
            time.sleep(self.scale.pause * self.random.uniform(0.5, 1.5))
            before = self.proxy.states
            if files:
                self._hand_in(files.pop(0))
            wait(
                lambda before=before: self.proxy.states > before,
                "states are sent",
                seconds=self.scale.patience,
            )
            strike()
            self.struck[strike.__name__] += 1

    def _hand_in(self, file: bytes) -> None:
        with client(self.front.urls[0], self.front.key) as http:
            answer = http.post("/submissions", content=file, headers={"Content-Type": "text/csv"})
            answer.raise_for_status()

    def _kill_beats(self) -> None:
        for beat in self.front.beats:  # all, so that it is the one that sends
            beat.kill()
        if self.scale.ends_leases:
            self._end_leases()

    def _kill_worker(self) -> None:
        self.random.choice(self.front.workers).kill()

    def _kill_lms(self) -> None:
        self.lms.gateways[0].kill()

    def _be_away(self) -> None:
        self.proxy.is_away = True
        refused = self.proxy.refused
        wait(
            lambda: self.proxy.refused > refused, "a state is refused", seconds=self.scale.patience
        )
        time.sleep(self.scale.away)
        self.proxy.is_away = False

    def heal(self) -> None:
        """Waits until all processes run."""
        for stack in (self.front, self.lms):
            stack.until_ready()

    def _end_leases(self) -> None:
        """Lets leases and pauses end. Whoever had a lease is dead."""
        with self.front.sessions.begin() as session:
            free = {"leased_until": None, "not_before": None, "failures": 0}
            session.execute(update(DestinationRow).values(free))

    def _let_all_be_due(self) -> None:
        with self.front.sessions.begin() as session:
            session.execute(update(DestinationRow).values(not_before=None))
            row = DestinationDeliveryRow
            is_pending = row.state == DeliveryState.PENDING.value
            session.execute(update(row).where(is_pending).values(next_attempt_at=PAST))

    def wait_until_all_arrived(self) -> float:
        """Waits until nothing is to be processed or sent; returns the seconds."""
        if self.scale.ends_leases:
            wait(self._is_read, "all changes are queued", seconds=self.scale.patience)
            self._let_all_be_due()
        return wait(self._has_arrived, "all states have arrived", seconds=self.scale.patience)

    def _is_read(self) -> bool:
        try:
            if not self.front.is_settled():
                return False
            with self.front.sessions.read() as session:
                read = positions.find_position(session, positions.DESTINATIONS)
                return read == events.last_position(session)
        except EnrollmentError:
            return False

    def _has_arrived(self) -> bool:
        time.sleep(LOOK_SECONDS)
        row = DestinationDeliveryRow
        pending = select(row.id).where(row.state == DeliveryState.PENDING.value).limit(1)
        with self.front.sessions.read() as session:
            return session.scalar(pending) is None and self._is_read()

    # --- what came of it ------------------------------------------------------------------

    def faults(self) -> Iterator[str]:
        """Yields everything that is wrong."""
        yield from self._reconciled()
        here, there = (_states(stack.sessions) for stack in (self.front, self.lms))
        differing = sum(here.get(key) != there.get(key) for key in here | there)
        if differing:
            yield f"{differing} of {len(here)} enrollments differ"
        changes = self.changes()
        unsent = sum(not self.proxy.sent[key] for key in changes)
        if unsent:
            yield f"{unsent} enrollments were not sent"
        kills = self.struck["_kill_beats"]
        for key, times in self.repeats(changes).items():
            if times > kills:
                yield f"{key} was sent {times} times too often, and beat was killed {kills} times"
        most = kills * STATES_PER_CONNECTION * CONCURRENCY
        if (total := self.repeats(changes).total()) > most:
            yield f"{total} states were sent without need: more than the {most} of {kills} slices"

    def changes(self) -> Counter[Key]:
        """Returns how often each enrollment was changed."""
        found: Counter[Key] = Counter()
        place = 0
        while True:
            with self.front.sessions.read() as session:
                page = events.events_after(session, place, limit=_PAGE)
            if not page:
                return found
            found.update((event.course_id, event.username) for event in page)
            place = page[-1].position

    def repeats(self, changes: Counter[Key]) -> Counter[Key]:
        """Returns how often each state was sent beyond its changes and unanswered attempts.

        A beat that is killed has sent states whose results it has not stored: these are sent again.
        """
        unanswered = self.proxy.sent - self.proxy.answered
        return self.proxy.sent - changes - unanswered

    def _reconciled(self) -> Iterator[str]:
        words = ["destinations", "reconcile", NAME, "--json", "--url", self.front.urls[0]]
        done = subprocess.run(
            [*ENROLL, *words],
            capture_output=True,
            text=True,
            env=bare(ENROLL_API_KEY=self.front.key),
            timeout=300,
            check=False,
        )
        if done.returncode != 0:
            yield f"reconcile ended with {done.returncode}: {done.stdout} {done.stderr}"
            return
        counts = json.loads(done.stdout)["counts"]
        if counts["differences"] or counts["in_transit"]:
            yield f"reconcile found {counts}"

    def summary(self) -> dict[str, int]:
        """Returns the figures of the run."""
        changes = self.changes()
        return {
            "rows": self.sample.rows,
            "changes": changes.total(),
            "enrollments": len(changes),
            "requests": self.proxy.states,
            "unanswered": (self.proxy.sent - self.proxy.answered).total(),
            "lost answers": self.proxy.lost,
            "refused connections": self.proxy.refused,
            "sent again after a kill": self.repeats(changes).total(),
            **self.struck,
        }


def _post(http: httpx.Client, path: str, body: object) -> None:
    http.post(path, json=body).raise_for_status()


def _states(sessions: Sessions) -> dict[Key, tuple[str, bool]]:
    """Returns all enrollments of an instance."""
    found: dict[Key, tuple[str, bool]] = {}
    following: compared_states.StatePlace | None = compared_states.START
    while following is not None:
        with sessions.read() as session:
            page, following = compared_states.page(session, (), after=following, limit=_PAGE)
        found |= {each.key: (each.mode, each.is_active) for each in page}
    return found


def run_destination(
    front: Stack, lms: Stack, sample: FailingSample, scale: DestinationScale, seed: int
) -> tuple[Row, dict[str, int]]:
    """Runs the faults; returns the row of the run, and its figures."""
    with ExitStack() as exits:
        proxy = exits.enter_context(LmsProxy(lms.ports[0], lost_every=scale.lost_every))
        this = DestinationRun(
            front=front,
            lms=lms,
            sample=sample,
            scale=scale,
            random=random.Random(f"{CODE} {seed}"),
            proxy=proxy,
        )
        this.prepare()
        this.hand_in_and_strike()
        this.heal()
        recovery = this.wait_until_all_arrived()
        violations = list(this.faults())
        figures = this.summary()
    doubts = [
        f"nothing shows that {name} took effect"
        for name in ("lost answers", "refused connections", "sent again after a kill")
        if not figures[name]
    ]
    row = Row(
        fault=CODE,
        title=TITLE,
        database=front.database.sort,
        seed=seed,
        injections=this.struck.total(),
        witnessed=figures["unanswered"] + figures["sent again after a kill"],
        accepted=figures["rows"],
        recovery=recovery,
        violations=violations,
        result="violations" if violations else "unknown" if doubts else "ok",
        doubts=doubts,
    )
    return row, figures
