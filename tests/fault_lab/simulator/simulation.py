"""The parts of one schedule put together, and each thing that can happen in it."""

import random
from uuid import UUID

from sqlalchemy import select

from enrollment.domain.errors import SubmissionNotFound
from enrollment.domain.model import Invitation
from enrollment.runtime.broker import TaskName
from enrollment.storage import courses, invitations
from enrollment.storage.tables import FeedHeadRow
from tests.fault_lab.simulator.broker import Broker, Message
from tests.fault_lab.simulator.checks import database_contents, invariants
from tests.fault_lab.simulator.checks.model import CourseFacts, Model
from tests.fault_lab.simulator.environment import Bench
from tests.fault_lab.simulator.fault_rates import FaultRates, VirtualTime
from tests.fault_lab.simulator.history import LOGGED, Cancelling, Capacity, Edit, History, Reading
from tests.fault_lab.simulator.initial_state import InitialState, course, email
from tests.fault_lab.simulator.processes import CrashPlan, Process, ProcessCrashed
from tests.fault_lab.simulator.service import Gateway, Worker
from tests.fault_lab.simulator.workload import Attempt
from tests.support.in_process_service import World
from worker.processing.transaction import ProcessedBatches

#: Rounds of waiting and sweeping after which nothing may be left.
MAX_ROUNDS = 60
#: Rounds without any progress after which there will be none.
IDLE_ROUNDS = 4
#: After this long what broke off is swept.
A_DAY = 25 * 3600.0
#: Batches and files that wait, and what changes while they are worked on.
_LEFT = """
    SELECT (SELECT count(*) FROM batch WHERE announced_at IS NOT NULL AND answered_at IS NULL),
           (SELECT count(*) FROM submission WHERE batch_id IS NULL AND finished_at IS NULL
            AND published_at IS NOT NULL),
           (SELECT count(answered_at) FROM batch),
           (SELECT coalesce(sum(attempts), 0) FROM batch)
"""


class Simulation:
    """A service of two gateways, two workers and a sweeper, and the clients' memory."""

    def __init__(
        self, bench: Bench, rng: random.Random, weather: FaultRates, scene: InitialState
    ) -> None:
        self.bench, self.rng, self.scene = bench, rng, scene
        self.trace: list[str] = []
        self.time = VirtualTime()
        self.fate = CrashPlan(rng, weather, meanwhile=self.meanwhile, note=self.note)
        self.broker = Broker(self.fate, self.time, choose=rng.choice, note=self.note)
        self.gateways = [
            Gateway(name, bench.mortal, self.broker, self.fate, self.time) for name in ("g1", "g2")
        ]
        bench.begin(self, scene)
        self.workers = [self._worker("w1"), self._worker("w2")]
        for worker in self.workers:
            worker.process.overlaps = True
        #: Sweeps and tidies.
        self.upkeep = self._worker("w3")
        #: The chance that a worker's turn is over whenever it looks at its clock.
        self.turn_is_over = 0.15
        self.history = History(scene.courses, scene.invited, granted=scene.granted)
        self.facts = dict(scene.courses)
        self.invited = set(scene.invited)
        self.most_seats = {key: facts.capacity for key, facts in self.facts.items()}
        self.history.capacities = [
            Capacity(key, 0, one.capacity) for key, one in self.facts.items()
        ]
        self._states: dict[UUID, int] = {}

    def _worker(self, name: str) -> Worker:
        return Worker(name, self.fate, self.bench.load, begins=self.time.tick)

    def note(self, line: str) -> None:
        """One line of the trace."""
        self.trace.append(f"{self.time.monotonic():10.6f} {line}")

    def meanwhile(self) -> None:
        """What others do while a process stands between two transactions."""

    def beside(self) -> None:
        """What others do beside an open transaction of a worker."""

    # --- what the bench asks --------------------------------------------------------------

    def work_takes(self) -> float:
        """Seconds on a worker's clock: now and then a turn is over."""
        if self.fate.happens(self.turn_is_over):
            self.time.advance(0.3)
        return self.time.monotonic()

    def surprised(self, what: str) -> None:
        """An error that nobody made on purpose is a fault."""
        self.history.faults.append(f"{LOGGED}{what}")
        self.note(f"    {what}")

    def hear(self, done: ProcessedBatches) -> None:
        """Gateways hear what was answered, unless the message gets lost."""
        for gateway in self.gateways:
            if not self.fate.happens(self.fate.weather.lost):
                gateway.dispatcher.on_completed(done.batch_ids)

    # --- clients --------------------------------------------------------------------------

    def ask(self, gateway: Gateway, group: list[Attempt]) -> None:
        """Singles that one commit takes in."""
        self._ask(gateway, group)
        gateway.take(group)
        self._hear(group)

    def send(self, gateway: Gateway, attempt: Attempt, *, batch_rows: int) -> None:
        """A file."""
        self._ask(gateway, [attempt])
        gateway.upload(attempt, batch_rows=batch_rows)
        self._hear([attempt])

    def _ask(self, gateway: Gateway, group: list[Attempt]) -> None:
        for attempt in group:
            self.history.attempts.append(attempt)
            attempt.asked = self.history.moment()
            self.note(f"{gateway.process.name} is asked {attempt}")

    def _hear(self, group: list[Attempt]) -> None:
        for attempt in group:
            attempt.heard = self.history.moment()
            told = "the key is used" if attempt.is_reuse else "nothing"
            told = told if attempt.id is None else f"202, {self.history.id_of(attempt.id)}"
            self.note(f"{attempt.label} hears {told}")

    def cancel(self, gateway: Gateway, submission_id: UUID) -> None:
        """Ask that the rest be cancelled."""
        self.time.tick()
        began = self.time.now()
        self.note(f"{gateway.process.name} is to cancel {self.history.id_of(submission_id)}")
        try:
            said = gateway.cancel(submission_id)
        except SubmissionNotFound:
            self.history.faults.append("I1: what was answered 202 is not found")
            return
        self.history.cancellings.append(Cancelling(submission_id, began, self.time.now(), said))
        self.note(f"cancelled: {said}")

    def read(self, submission_id: UUID) -> None:
        """Remember the outcomes so far, and that the state never goes back."""
        with self.bench.sessions.read() as session:
            now = database_contents.read(session)
        kept = now.submissions.get(submission_id)
        if kept is None:
            return
        self.history.readings.append(Reading(submission_id, now.outcomes_of(kept)))
        answered = sum(batch.answered_at is not None for batch in now.batches_of(kept))
        if answered < self._states.get(submission_id, 0):
            self.history.faults.append(f"I10: {kept.label} has fewer answers than before")
        self._states[submission_id] = answered

    # --- operators ------------------------------------------------------------------------

    def edit(self, course_id: str, facts: CourseFacts) -> None:
        """Save a course anew."""
        self.time.tick()
        self.facts[course_id] = facts
        most = self.most_seats[course_id]
        if facts.capacity is None or most is None:
            self.most_seats[course_id] = None
        else:
            self.most_seats[course_id] = max(most, facts.capacity)
        with self.bench.sessions.begin() as session:
            courses.save(session, course(course_id, facts))
            head = session.scalars(select(FeedHeadRow.position)).one()
        change = _Change(course_id, facts)
        self.history.edits.append(Edit(self.time.now(), change))
        self.history.capacities.append(Capacity(course_id, head, facts.capacity))
        self.note(f"the operator saves {facts} for {course_id}")

    def invite(self, course_id: str, username: str) -> None:
        """Give an invitation, or take it back."""
        self.time.tick()
        key = (course_id, username)
        with self.bench.sessions.begin() as session:
            if key in self.invited:
                invitations.delete(session, course_id, email(username))
            else:
                given = Invitation(course_id, email(username))
                invitations.save(session, given, now=self.time.now())
        self.invited ^= {key}
        self.history.edits.append(Edit(self.time.now(), _Invited(frozenset(self.invited))))
        self.note(f"invited are {sorted(self.invited)}")

    # --- work -----------------------------------------------------------------------------

    def deliver(self, worker: Worker, message: Message) -> None:
        """A message reaches a worker."""
        self.broker.take(message)
        self.note(f"{worker.process.name} takes message {message.number}: {message.batch_id}")
        self._expect_nothing(worker, worker.work(message, self.broker))
        self.note(f"{worker.process.name} is done with message {message.number}")

    def sweep(self) -> None:
        """What was forgotten is announced again."""
        self.note(f"{self.upkeep.process.name} sweeps")
        try:
            self._expect_nothing(self.upkeep, self.upkeep.run(TaskName.REDISPATCH))
        except ProcessCrashed:
            self.note("the sweep did not come to its end")

    def _expect_nothing(self, worker: Worker, error: Exception | None) -> None:
        if error is not None:
            self.history.faults.append(f"{worker.process.name} failed: {error!r}")

    def kill(self, process: Process) -> None:
        """Kill a process, whatever it does."""
        self.note(f"{process.name} is killed")
        self.fate.failures += 1
        process.die()

    # --- the end --------------------------------------------------------------------------

    def heal(self) -> None:
        """Nothing goes wrong any more; time passes until all is quiet and tidy."""
        self.fate.active = False
        self.note("all faults end")
        self.settle()
        self.time.advance(A_DAY)
        self.deliver_all()  # what came late is about nothing any more
        self._expect_nothing(self.upkeep, self.upkeep.run(TaskName.PURGE))
        self.history.is_tidy = True

    def settle(self) -> None:
        """Doorbells ring, workers work, the sweeper sweeps, until nothing is left to do."""
        for gateway in self.gateways:
            self.ring_all(gateway)
        seen: list[tuple[int, ...]] = []
        for _ in range(MAX_ROUNDS):
            self.deliver_all()
            self.time.advance(5.1)
            seen.append(self.progress())
            if seen[-1][:2] == (0, 0) or seen[-IDLE_ROUNDS:] == [seen[-1]] * IDLE_ROUNDS:
                break
            self.sweep()

    def ring_all(self, gateway: Gateway) -> None:
        """The doorbell comes to its end."""
        while gateway.dispatcher.inbox:
            gateway.ring()
        self.time.advance(1.0)
        gateway.ring()

    def deliver_all(self) -> None:
        """Workers do what can be done now."""
        while ready := self.broker.ready():
            self.deliver(self.workers[0], ready[0])

    def progress(self) -> tuple[int, ...]:
        """What is left to do, and what changes as long as anything is done."""
        return *self.bench.database.ask(_LEFT), len(self.broker.messages)

    def faults(self) -> list[str]:
        """Every promise that was broken."""
        with self.bench.sessions.read() as session:
            kept = database_contents.read(session)
        self.history.overlapped = self.fate.overlaps > 0
        self.history.failures = self.fate.failures
        return [*invariants.faults(self.history, kept), *self.world().faults()]

    def world(self) -> World:
        """The same records as the other tests look at them."""
        world = World(self.bench.sessions)
        world.most_seats = dict(self.most_seats)
        return world


class _Change:
    """A course as it is from now on."""

    def __init__(self, course_id: str, facts: CourseFacts) -> None:
        self._course_id, self._facts = course_id, facts

    def __call__(self, model: Model) -> None:
        model.courses[self._course_id] = self._facts


class _Invited:
    """Who is invited from now on."""

    def __init__(self, invited: frozenset[tuple[str, str]]) -> None:
        self._invited = invited

    def __call__(self, model: Model) -> None:
        model.invited = set(self._invited)
