"""A broker that loses, duplicates, delays and reorders messages."""

from collections.abc import Callable
from typing import NamedTuple

from kombu.exceptions import OperationalError

from enrollment.storage.queue.batches import BatchRef
from tests.fault_lab.simulator.fault_rates import VirtualTime
from tests.fault_lab.simulator.processes import CrashPlan

#: Delays of late messages, in seconds: below and above `REDISPATCH_AFTER`.
DELAYS = (0.05, 1.0, 6.0, 30.0)


class Message(NamedTuple):
    """A batch id in transit."""

    number: int
    batch_id: int
    #: Earliest delivery, in seconds since the start of the schedule.
    ready_at: float


class Broker:
    """Holds the messages that were sent and not delivered yet."""

    def __init__(
        self,
        crash_plan: CrashPlan,
        time: VirtualTime,
        *,
        choose: Callable[[tuple[float, ...]], float],
        note: Callable[[str], None],
    ) -> None:
        self._crash_plan = crash_plan
        self._time = time
        self._choose = choose
        self._note = note
        self._numbers = 0
        self.messages: list[Message] = []

    def send(self, waiting: BatchRef) -> None:
        """Accepts a message, or loses or duplicates it. Raises OperationalError if the broker is
        down.
        """
        rates = self._crash_plan.rates
        if self._crash_plan.happens(rates.broker_down):
            self._note(f"    the broker refuses batch {waiting.id}")
            raise OperationalError("refused")
        if self._crash_plan.happens(rates.lost):
            self._note(f"    the message for batch {waiting.id} is lost")
            return
        self._keep(waiting.id)
        if self._crash_plan.happens(rates.doubled):
            self._keep(waiting.id)

    def _keep(self, batch_id: int) -> None:
        late = (
            self._choose(DELAYS) if self._crash_plan.happens(self._crash_plan.rates.late) else 0.0
        )
        self.put(batch_id, late)

    def put(self, batch_id: int, delay: float = 0.0) -> None:
        """Adds a message that becomes deliverable after `delay` seconds."""
        self._numbers += 1
        ready_at = self._time.monotonic() + delay
        self.messages.append(Message(self._numbers, batch_id, ready_at))
        self._note(f"    message {self._numbers} for batch {batch_id}, in {delay} s")

    def ready(self) -> list[Message]:
        """Returns the deliverable messages; a worker may get any of them."""
        now = self._time.monotonic()
        return [message for message in self.messages if message.ready_at <= now]

    def take(self, message: Message) -> None:
        """Removes a message that a worker starts to process."""
        self.messages.remove(message)

    def orphan(self, message: Message) -> None:
        """Loses or redelivers the message of a worker that crashed."""
        if self._crash_plan.happens(1.0 - self._crash_plan.rates.returned):
            self._note(f"    message {message.number} is lost with its worker")
        else:
            self.put(message.batch_id, self._choose(DELAYS))

    def flush(self) -> None:
        """Drops all messages."""
        self.messages.clear()
