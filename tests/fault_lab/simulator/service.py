"""The service's processes, made of the real functions: gateways, workers, a sweeper."""

import hashlib
import io
from collections.abc import Callable
from typing import Any
from uuid import UUID

from kombu.exceptions import OperationalError

from api_gateway.intake import single_requests
from api_gateway.intake.dispatcher import Dispatcher
from api_gateway.intake.single_requests import Receipt, SingleRequest
from api_gateway.intake.upload_store import Upload, UploadStore
from enrollment.domain.codes import Lane
from enrollment.domain.errors import (
    Conflict,
    KeyReused,
    RecordsUnavailable,
    SubmissionFinished,
)
from enrollment.domain.submissions import SubmissionOptions
from enrollment.runtime.broker import TaskName
from enrollment.runtime.failpoints import FailPointReached
from enrollment.storage import cancellation
from enrollment.storage.engine.sessions import Sessions, database_now
from enrollment.storage.queue.batches import BatchRef
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

#: What a caller sees as "I do not know": the connection broke, 500, 503.
UNKNOWN = (ProcessCrashed, RecordsUnavailable, Conflict, FailPointReached)
#: How often the clock moves from one transaction of a gateway to the next.
TIME_PASSES = 0.7


class SteppedDispatcher(Dispatcher):
    """The dispatcher without its thread: it sends when its turn has come."""

    def __init__(self, send: Callable[[BatchRef], None], *, monotonic: Callable[[], float]) -> None:
        super().__init__(send, monotonic=monotonic)
        self.inbox: list[Any] = []

    def _put(self, item: Any) -> None:
        self.inbox.append(item)

    def step(self) -> None:
        """One item, or a look at what was held back."""
        if self.inbox:
            self._handle(self.inbox.pop(0))
        else:
            self._flush_expired()


class Gateway:
    """Takes requests in, and rings for them."""

    def __init__(
        self, name: str, sessions: Sessions, broker: Broker, fate: CrashPlan, time: VirtualTime
    ) -> None:
        self.process = Process(name, forget=self._forget, begins=self._begin)
        self._sessions, self._broker, self._fate, self._time = sessions, broker, fate, time
        self.dispatcher: SteppedDispatcher
        self._forget()

    def _forget(self) -> None:
        self.dispatcher = SteppedDispatcher(self._broker.send, monotonic=self._time.monotonic)

    def _begin(self) -> None:
        """Time passes between transactions, or too little to be seen."""
        if self._fate.happens(TIME_PASSES):
            self._time.tick()

    def take(self, group: list[Attempt]) -> None:
        """Singles that one commit takes in."""
        began = self._time.monotonic()
        requests = [
            SingleRequest(a.caller, _request(a), began, a.label, a.key, a.fingerprint)
            for a in group
        ]
        try:
            with self._fate.running(self.process):
                stored = single_requests.store_singles(
                    self._sessions, requests, self._time.monotonic
                )
                if stored.batch_id is not None:
                    self.dispatcher.dispatch(BatchRef(stored.batch_id, Lane.INTERACTIVE))
        except UNKNOWN:
            return
        for attempt, answer in zip(group, stored.results, strict=True):
            if isinstance(answer, Receipt):
                attempt.id = answer.submission_id
            attempt.is_reuse = isinstance(answer, KeyReused)

    def upload(self, attempt: Attempt, *, batch_rows: int) -> None:
        """A file."""
        uploads = UploadStore(
            sessions=self._sessions,
            dispatcher=self.dispatcher,
            limits=Limits(batch_rows=batch_rows),
            max_atomic_rows=100,
            monotonic=self._time.monotonic,
        )
        try:
            with self._fate.running(self.process):
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
        """Ask that the rest be cancelled; False: it is finished; None: nobody knows.

        Raises SubmissionNotFound.
        """
        try:
            with self._fate.running(self.process):
                with self._sessions.begin() as session:
                    now = database_now(session)
                    asked = cancellation.request_cancel(session, submission_id, None, now=now)
                if asked.batch_id is not None:
                    self.dispatcher.dispatch(BatchRef(asked.batch_id, Lane.INTERACTIVE))
        except SubmissionFinished:
            return False
        except UNKNOWN:
            return None
        return True

    def ring(self) -> None:
        """The doorbell's turn."""
        try:
            with self._fate.running(self.process):
                self.dispatcher.step()
        except ProcessCrashed:
            return


def _request(attempt: Attempt) -> ParsedRequest:
    (wish,) = attempt.wishes
    return ParsedRequest(
        wish.user, None, wish.course_id, wish.is_active, wish.mode, requested_at=wish.stated
    )


class Tasks:
    """The real tasks of one process, where Celery would keep them."""

    def __init__(
        self, processor: Processor, sweeper: Maintenance, announcer: "SimulatedNotifier"
    ) -> None:
        self._kept: dict[str, Callable[..., None]] = {}
        tasks.register(self, processor, sweeper, announcer)  # type: ignore[arg-type]

    def task(self, *, name: str, **_: Any) -> Callable[..., Any]:
        """Keep a task under its name."""

        def keep(task: Callable[..., None]) -> Callable[..., None]:
            self._kept[name] = task
            return task

        return keep

    def run(self, name: str, *arguments: int) -> None:
        """Do one of them."""
        self._kept[name](*arguments)


class Worker:
    """Works on one message at a time."""

    def __init__(
        self, name: str, fate: CrashPlan, load: Callable[[], Tasks], *, begins: Callable[[], object]
    ) -> None:
        self.process = Process(name, forget=self._forget, begins=begins)
        self.message: Message | None = None
        self._fate, self._load = fate, load
        self._forget()

    def _forget(self) -> None:
        self._tasks = self._load()

    def work(self, message: Message, broker: Broker) -> Exception | None:
        """Do what the message asks for; what went wrong that nothing foretold."""
        self.message = message
        try:
            return self.run(TaskName.PROCESS, message.batch_id)
        except ProcessCrashed:
            broker.orphan(message)
        finally:
            self.message = None
        return None

    def run(self, name: TaskName, *arguments: int) -> Exception | None:
        """Do a task; what went wrong that nothing foretold."""
        try:
            with self._fate.running(self.process):
                self._tasks.run(name, *arguments)
        except FailPointReached:
            return None
        except Exception as error:  # noqa: BLE001 (told as a fault, with the schedule)
            return error
        return None


class SimulatedNotifier:
    """What workers and the sweeper say, over the same broker."""

    def __init__(
        self, broker: Callable[[], Broker], hear: Callable[[ProcessedBatches], None]
    ) -> None:
        self._broker = broker
        self._hear = hear

    def dispatch(self, waiting: BatchRef) -> bool:
        """Ring for a batch; False where the queue cannot be reached."""
        try:
            self._broker().send(waiting)
        except OperationalError:
            return False
        return True

    def notify(self, done: ProcessedBatches) -> None:
        """Ring for what is next, then say what was answered."""
        for waiting in done.next:
            self.dispatch(waiting)
        if done.batch_ids:
            self._hear(done)
