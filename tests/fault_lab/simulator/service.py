"""The processes of the service, built of the real functions: gateways, workers, maintenance."""

import hashlib
import io
from collections.abc import Callable
from typing import Any, NoReturn
from uuid import UUID

from kombu.exceptions import OperationalError

from api_gateway.intake.dispatcher import Dispatcher
from api_gateway.intake.upload_store import UploadStore
from enrollment.domain.codes import Lane
from enrollment.domain.errors import (
    Conflict,
    DatabaseUnavailable,
    KeyReused,
    SubmissionFinished,
)
from enrollment.domain.submissions import SubmissionOptions
from enrollment.runtime.broker import TaskName
from enrollment.runtime.failpoints import FailPointReached
from enrollment.storage import cancellation
from enrollment.storage.engine.sessions import Sessions, database_now
from enrollment.storage.queue.batches import BatchRef
from intake_store import group_store
from intake_store.group_store import Receipt, SingleRequest
from intake_store.upload import Upload
from schemas.files.source import Limits
from schemas.requests.parsed import ParsedRequest
from tests.fault_lab.simulator.broker import Broker, Message
from tests.fault_lab.simulator.fault_rates import VirtualTime
from tests.fault_lab.simulator.processes import CrashPlan, Process, ProcessCrashed
from tests.fault_lab.simulator.workload import Attempt
from worker import tasks
from worker.maintenance import Maintenance
from worker.processing.processor import Processor
from worker.processing.transaction import ProcessedBatches
from worker.purge import Purge

#: Errors after which a client cannot know the result: broken connection, 500, 503.
UNKNOWN = (ProcessCrashed, DatabaseUnavailable, Conflict, FailPointReached)
#: Probability that the clock moves between two transactions of a gateway.
TIME_PASSES = 0.7


class SteppedDispatcher(Dispatcher):
    """The dispatcher without its thread: it sends when `step` is called."""

    def __init__(self, send: Callable[[BatchRef], None], *, monotonic: Callable[[], float]) -> None:
        super().__init__(send, monotonic=monotonic)
        self.inbox: list[Any] = []

    def _put(self, item: Any) -> None:
        self.inbox.append(item)

    def step(self) -> None:
        """Handles one item, or sends held-back messages whose time has come."""
        if self.inbox:
            self._handle(self.inbox.pop(0))
        else:
            self._flush_expired()


class Gateway:
    """Accepts requests and dispatches their batches."""

    def __init__(
        self,
        name: str,
        sessions: Sessions,
        broker: Broker,
        crash_plan: CrashPlan,
        time: VirtualTime,
    ) -> None:
        self.process = Process(name, forget=self._forget, begins=self._begin)
        self._sessions, self._broker, self._crash_plan, self._time = (
            sessions,
            broker,
            crash_plan,
            time,
        )
        self.dispatcher: SteppedDispatcher
        self._forget()

    def _forget(self) -> None:
        self.dispatcher = SteppedDispatcher(self._broker.send, monotonic=self._time.monotonic)

    def _begin(self) -> None:
        """Usually moves the clock; two transactions may also have the same time."""
        if self._crash_plan.happens(TIME_PASSES):
            self._time.tick()

    def take(self, group: list[Attempt]) -> None:
        """Stores single requests in one commit."""
        began = self._time.monotonic()
        requests = [
            SingleRequest(a.caller, _request(a), began, a.label, a.key, a.fingerprint)
            for a in group
        ]
        try:
            with self._crash_plan.running(self.process):
                stored = group_store.store_group(self._sessions, requests, self._time.monotonic)
                for batch in stored.dispatch:
                    self.dispatcher.dispatch(batch)
        except UNKNOWN:
            return
        for attempt, answer in zip(group, stored.results, strict=True):
            if isinstance(answer, Receipt):
                attempt.id = answer.submission_id
            attempt.is_reuse = isinstance(answer, KeyReused)

    def upload(self, attempt: Attempt, *, batch_rows: int) -> None:
        """Stores a file."""
        uploads = UploadStore(
            sessions=self._sessions,
            dispatcher=self.dispatcher,
            limits=Limits(batch_rows=batch_rows),
            max_atomic_rows=100,
            monotonic=self._time.monotonic,
        )
        try:
            with self._crash_plan.running(self.process):
                attempt.id = uploads.store(self._upload_of(attempt)).submission_id
        except KeyReused:
            attempt.is_reuse = True
        except UNKNOWN:
            return

    def _upload_of(self, attempt: Attempt) -> Upload:
        return Upload(
            file=io.BytesIO(attempt.content),
            media_type="text/csv",
            gzip=False,
            caller=attempt.caller,
            options=SubmissionOptions(on_error="abort" if attempt.is_atomic else "continue"),
            lane=attempt.lane,
            first_byte=self._time.monotonic(),
            request_id=attempt.label,
            key=attempt.key,
            digest=hashlib.sha256(attempt.head),
        )

    def cancel(self, submission_id: UUID) -> bool | None:
        """Requests cancellation; returns False if it is finished, None if the result is unknown.

        Raises SubmissionNotFound.
        """
        try:
            with self._crash_plan.running(self.process):
                with self._sessions.begin() as session:
                    now = database_now(session)
                    submission = cancellation.request_cancel(session, submission_id, None, now=now)
                if submission.batch_id is not None:
                    self.dispatcher.dispatch(BatchRef(submission.batch_id, Lane.INTERACTIVE))
        except SubmissionFinished:
            return False
        except UNKNOWN:
            return None
        return True

    def step_dispatcher(self) -> None:
        """Runs one step of the dispatcher."""
        try:
            with self._crash_plan.running(self.process):
                self.dispatcher.step()
        except ProcessCrashed:
            return


def _request(attempt: Attempt) -> ParsedRequest:
    (change,) = attempt.changes
    return ParsedRequest(
        change.user,
        None,
        change.course_id,
        change.is_active,
        change.mode,
        requested_at=change.stated,
    )


class Tasks:
    """Registers the real tasks of one process in place of Celery."""

    def __init__(
        self,
        processor: Processor,
        maintenance: Maintenance,
        purge: Purge,
        notifier: "SimulatedNotifier",
    ) -> None:
        self._by_name: dict[str, Callable[..., None]] = {}
        tasks.register(self, processor, maintenance, purge, notifier)  # type: ignore[arg-type]

    def task(self, *, name: str, **_: Any) -> Callable[..., Any]:
        """Registers a task under its name."""

        def register(task: Callable[..., None]) -> Callable[..., None]:
            self._by_name[name] = task
            return task

        return register

    def run(self, name: str, *arguments: int) -> None:
        """Runs a task."""
        self._by_name[name](*arguments)


class Worker:
    """Processes one message at a time."""

    def __init__(
        self,
        name: str,
        crash_plan: CrashPlan,
        load: Callable[[], Tasks],
        *,
        begins: Callable[[], object],
    ) -> None:
        self.process = Process(name, forget=self._forget, begins=begins)
        self.message: Message | None = None
        self._crash_plan, self._load = crash_plan, load
        self._forget()

    def _forget(self) -> None:
        self._tasks = self._load()

    def work(self, message: Message, broker: Broker) -> Exception | None:
        """Processes a message; returns an unexpected error."""
        self.message = message
        try:
            return self.run(TaskName.PROCESS, message.batch_id)
        except ProcessCrashed:
            broker.orphan(message)
        finally:
            self.message = None
        return None

    def run(self, name: TaskName, *arguments: int) -> Exception | None:
        """Runs a task; returns an unexpected error."""
        try:
            with self._crash_plan.running(self.process):
                self._tasks.run(name, *arguments)
        except FailPointReached:
            return None
        except Exception as error:  # noqa: BLE001 (reported as a violation, with the schedule)
            return error
        return None


class SimulatedNotifier:
    """Sends the messages of workers and maintenance through the simulated broker."""

    def __init__(
        self, broker: Callable[[], Broker], on_processed: Callable[[ProcessedBatches], None]
    ) -> None:
        self._broker = broker
        self._on_processed = on_processed

    def dispatch(self, waiting: BatchRef) -> bool:
        """Dispatches a batch; returns False if the broker is unavailable."""
        try:
            self._broker().send(waiting)
        except OperationalError:
            return False
        return True

    def dispatch_purge(self, turn: int) -> NoReturn:
        """Fails: on the virtual clock one turn deletes everything."""
        message = f"turn {turn} of the purge is needed"
        raise AssertionError(message)

    def queue_length(self, _lane: Lane) -> int:
        """Returns the number of messages that wait, of both lanes."""
        return len(self._broker().ready())

    def notify(self, done: ProcessedBatches) -> None:
        """Dispatches the next batches and publishes the processed ones."""
        for waiting in done.next:
            self.dispatch(waiting)
        if done.batch_ids:
            self._on_processed(done)
