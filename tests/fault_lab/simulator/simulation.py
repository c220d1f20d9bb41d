"""Connects the parts of one schedule and implements its steps."""

import random
from uuid import UUID

from enrollment.domain.errors import SubmissionNotFound
from enrollment.domain.model import Invitation
from enrollment.runtime.broker import TaskName
from enrollment.storage import courses, events, invitations
from tests.fault_lab.simulator.broker import Broker, Message
from tests.fault_lab.simulator.checks import database_contents, invariants
from tests.fault_lab.simulator.checks.model import CourseFacts
from tests.fault_lab.simulator.environment import Environment
from tests.fault_lab.simulator.fault_rates import FaultRates, VirtualTime
from tests.fault_lab.simulator.history import (
    LOGGED,
    Cancellation,
    Capacity,
    CourseChange,
    Edit,
    History,
    InvitationChange,
    ReadOutcomes,
)
from tests.fault_lab.simulator.initial_state import InitialState, course, email
from tests.fault_lab.simulator.processes import CrashPlan, Process, ProcessCrashed
from tests.fault_lab.simulator.service import Gateway, Worker
from tests.fault_lab.simulator.workload import Attempt
from tests.support.in_process_service import World
from worker.processing.transaction import ProcessedBatches

#: Rounds of waiting and redispatching after which no work may be left.
MAX_ROUNDS = 60
#: Rounds without progress after which the service counts as stuck.
IDLE_ROUNDS = 4
#: Seconds after which incomplete uploads are purged.
A_DAY = 25 * 3600.0
#: Unprocessed batches and files, and two counters that change with every progress.
_LEFT = """
    SELECT (SELECT count(*) FROM batch WHERE announced_at IS NOT NULL AND answered_at IS NULL),
           (SELECT count(*) FROM submission WHERE batch_id IS NULL AND finished_at IS NULL
            AND published_at IS NOT NULL),
           (SELECT count(answered_at) FROM batch),
           (SELECT coalesce(sum(attempts), 0) FROM batch)
"""


class Simulation:
    """Two gateways, two workers, maintenance, and the history of the clients."""

    def __init__(
        self,
        environment: Environment,
        rng: random.Random,
        rates: FaultRates,
        initial_state: InitialState,
    ) -> None:
        self.environment, self.rng, self.initial_state = environment, rng, initial_state
        self.trace: list[str] = []
        self.time = VirtualTime()
        self.crash_plan = CrashPlan(rng, rates, meanwhile=self.meanwhile, note=self.note)
        self.broker = Broker(self.crash_plan, self.time, choose=rng.choice, note=self.note)
        self.gateways = [
            Gateway(name, environment.crashing_sessions, self.broker, self.crash_plan, self.time)
            for name in ("g1", "g2")
        ]
        environment.begin(self, initial_state)
        self.workers = [self._worker("w1"), self._worker("w2")]
        for worker in self.workers:
            worker.process.overlaps = True
        #: Runs the maintenance tasks.
        self.maintenance = self._worker("w3")
        #: Probability that a worker's time slice is over whenever it reads its clock.
        self.turn_is_over = 0.15
        self.history = History(
            initial_state.courses, initial_state.invited, granted=initial_state.granted
        )
        self.facts = dict(initial_state.courses)
        self.invited = set(initial_state.invited)
        self.most_seats = {key: facts.capacity for key, facts in self.facts.items()}
        self.history.capacities = [
            Capacity(key, 0, one.capacity) for key, one in self.facts.items()
        ]
        self._states: dict[UUID, int] = {}

    def _worker(self, name: str) -> Worker:
        return Worker(name, self.crash_plan, self.environment.load, begins=self.time.tick)

    def note(self, line: str) -> None:
        """Adds one line to the trace."""
        self.trace.append(f"{self.time.monotonic():10.6f} {line}")

    def meanwhile(self) -> None:
        """Runs other processes while one is paused between two transactions."""

    def run_concurrently(self) -> None:
        """Runs other processes beside an open transaction of a worker."""

    # --- callbacks of the environment -----------------------------------------------------

    def worker_clock(self) -> float:
        """Returns the seconds of a worker's clock; sometimes its time slice is over."""
        if self.crash_plan.happens(self.turn_is_over):
            self.time.advance(0.3)
        return self.time.monotonic()

    def on_unexpected_error(self, what: str) -> None:
        """Records an error that no injected fault explains."""
        self.history.faults.append(f"{LOGGED}{what}")
        self.note(f"    {what}")

    def on_processed(self, done: ProcessedBatches) -> None:
        """Passes processed batch ids to the gateways, unless the message is lost."""
        for gateway in self.gateways:
            if not self.crash_plan.happens(self.crash_plan.rates.lost):
                gateway.dispatcher.on_completed(done.batch_ids)

    # --- clients --------------------------------------------------------------------------

    def send_singles(self, gateway: Gateway, group: list[Attempt]) -> None:
        """Sends single requests that share one commit."""
        self._record_calls(gateway, group)
        gateway.take(group)
        self._record_answers(group)

    def send_file(self, gateway: Gateway, attempt: Attempt, *, batch_rows: int) -> None:
        """Sends a file."""
        self._record_calls(gateway, [attempt])
        gateway.upload(attempt, batch_rows=batch_rows)
        self._record_answers([attempt])

    def _record_calls(self, gateway: Gateway, group: list[Attempt]) -> None:
        for attempt in group:
            self.history.attempts.append(attempt)
            attempt.sent_order = self.history.moment()
            self.note(f"{gateway.process.name} receives {attempt}")

    def _record_answers(self, group: list[Attempt]) -> None:
        for attempt in group:
            attempt.answered_order = self.history.moment()
            answer = "the key is used" if attempt.is_reuse else "nothing"
            answer = answer if attempt.id is None else f"202, {self.history.id_of(attempt.id)}"
            self.note(f"{attempt.label} gets {answer}")

    def cancel(self, gateway: Gateway, submission_id: UUID) -> None:
        """Requests cancellation of a submission."""
        self.time.tick()
        began = self.time.now()
        self.note(f"{gateway.process.name} is to cancel {self.history.id_of(submission_id)}")
        try:
            result = gateway.cancel(submission_id)
        except SubmissionNotFound:
            self.history.faults.append("I1: what was answered 202 is not found")
            return
        self.history.cancellations.append(
            Cancellation(submission_id, began, self.time.now(), result)
        )
        self.note(f"cancelled: {result}")

    def read(self, submission_id: UUID) -> None:
        """Reads outcomes; records a violation if there are fewer than before."""
        with self.environment.sessions.read() as session:
            now = database_contents.read(session)
        stored = now.submissions.get(submission_id)
        if stored is None:
            return
        self.history.outcome_reads.append(ReadOutcomes(submission_id, now.outcomes_of(stored)))
        answered = sum(batch.answered_at is not None for batch in now.batches_of(stored))
        if answered < self._states.get(submission_id, 0):
            self.history.faults.append(f"I10: {stored.label} has fewer answers than before")
        self._states[submission_id] = answered

    # --- operators ------------------------------------------------------------------------

    def edit(self, course_id: str, facts: CourseFacts) -> None:
        """Saves a course."""
        self.time.tick()
        self.facts[course_id] = facts
        most = self.most_seats[course_id]
        if facts.capacity is None or most is None:
            self.most_seats[course_id] = None
        else:
            self.most_seats[course_id] = max(most, facts.capacity)
        with self.environment.sessions.begin() as session:
            courses.save(session, course(course_id, facts))
            head = events.last_position(session)
        change = CourseChange(course_id, facts)
        self.history.edits.append(Edit(self.time.now(), change))
        self.history.capacities.append(Capacity(course_id, head, facts.capacity))
        self.note(f"the operator saves {facts} for {course_id}")

    def invite(self, course_id: str, username: str) -> None:
        """Adds or deletes an invitation."""
        self.time.tick()
        key = (course_id, username)
        with self.environment.sessions.begin() as session:
            if key in self.invited:
                invitations.delete(session, course_id, email(username))
            else:
                given = Invitation(course_id, email(username))
                invitations.save(session, given, now=self.time.now())
        self.invited ^= {key}
        self.history.edits.append(Edit(self.time.now(), InvitationChange(frozenset(self.invited))))
        self.note(f"invited are {sorted(self.invited)}")

    # --- work -----------------------------------------------------------------------------

    def deliver(self, worker: Worker, message: Message) -> None:
        """Delivers a message to a worker."""
        self.broker.take(message)
        self.note(f"{worker.process.name} takes message {message.number}: {message.batch_id}")
        self._expect_nothing(worker, worker.work(message, self.broker))
        self.note(f"{worker.process.name} is done with message {message.number}")

    def redispatch(self) -> None:
        """Redispatches overdue batches."""
        self.note(f"{self.maintenance.process.name} redispatches")
        try:
            self._expect_nothing(self.maintenance, self.maintenance.run(TaskName.REDISPATCH))
        except ProcessCrashed:
            self.note("redispatching did not end")

    def _expect_nothing(self, worker: Worker, error: Exception | None) -> None:
        if error is not None:
            self.history.faults.append(f"{worker.process.name} failed: {error!r}")

    def kill(self, process: Process) -> None:
        """Kills a process, at whichever step it is."""
        self.note(f"{process.name} is killed")
        self.crash_plan.failures += 1
        process.die()

    # --- end of the schedule --------------------------------------------------------------

    def heal(self) -> None:
        """Ends all faults and runs until no work is left and old data is purged."""
        self.crash_plan.active = False
        self.note("all faults are healed")
        self.settle()
        self.time.advance(A_DAY)
        self.deliver_all()  # late messages whose batches are finished
        self._expect_nothing(self.maintenance, self.maintenance.run(TaskName.PURGE))
        self.history.is_purged = True

    def settle(self) -> None:
        """Dispatches, processes and redispatches until no work is left."""
        for gateway in self.gateways:
            self.drain_dispatcher(gateway)
        seen: list[tuple[int, ...]] = []
        for _ in range(MAX_ROUNDS):
            self.deliver_all()
            self.time.advance(5.1)
            seen.append(self.progress())
            if seen[-1][:2] == (0, 0) or seen[-IDLE_ROUNDS:] == [seen[-1]] * IDLE_ROUNDS:
                break
            self.redispatch()

    def drain_dispatcher(self, gateway: Gateway) -> None:
        """Runs the dispatcher until it is empty."""
        while gateway.dispatcher.inbox:
            gateway.step_dispatcher()
        self.time.advance(1.0)
        gateway.step_dispatcher()

    def deliver_all(self) -> None:
        """Processes all deliverable messages."""
        while ready := self.broker.ready():
            self.deliver(self.workers[0], ready[0])

    def progress(self) -> tuple[int, ...]:
        """Returns the unprocessed work, and counters that change with every progress."""
        return *self.environment.database.query_row(_LEFT), len(self.broker.messages)

    def faults(self) -> list[str]:
        """Returns all violations."""
        with self.environment.sessions.read() as session:
            stored = database_contents.read(session)
        self.history.overlapped = self.crash_plan.overlaps > 0
        self.history.failures = self.crash_plan.failures
        return [*invariants.faults(self.history, stored), *self.world().faults()]

    def world(self) -> World:
        """Returns the database as the other tests inspect it."""
        world = World(self.environment.sessions)
        world.most_seats = dict(self.most_seats)
        return world
