"""A broker that loses messages, doubles them, and delivers them late and out of order."""

from collections.abc import Callable
from typing import NamedTuple

from kombu.exceptions import OperationalError

from enrollment.storage.queue.batches import BatchRef
from tests.fault_lab.simulator.fault_rates import VirtualTime
from tests.fault_lab.simulator.processes import CrashPlan

#: Seconds that a late message takes: around the sweeper's patience, and beyond it.
DELAYS = (0.05, 1.0, 6.0, 30.0)


class Message(NamedTuple):
    """A batch's id on its way."""

    number: int
    batch_id: int
    #: Not before this many seconds since the beginning.
    ready_at: float


class Broker:
    """What was sent and not taken yet."""

    def __init__(
        self,
        fate: CrashPlan,
        time: VirtualTime,
        *,
        choose: Callable[[tuple[float, ...]], float],
        note: Callable[[str], None],
    ) -> None:
        self._fate = fate
        self._time = time
        self._choose = choose
        self._note = note
        self._numbers = 0
        self.messages: list[Message] = []

    def send(self, waiting: BatchRef) -> None:
        """Take a message. Raises OperationalError where the broker is down."""
        weather = self._fate.weather
        if self._fate.happens(weather.broker_down):
            self._note(f"    the broker refuses batch {waiting.id}")
            raise OperationalError("refused")
        if self._fate.happens(weather.lost):
            self._note(f"    the message for batch {waiting.id} is lost")
            return
        self._keep(waiting.id)
        if self._fate.happens(weather.doubled):
            self._keep(waiting.id)

    def _keep(self, batch_id: int) -> None:
        late = self._choose(DELAYS) if self._fate.happens(self._fate.weather.late) else 0.0
        self.put(batch_id, late)

    def put(self, batch_id: int, delay: float = 0.0) -> None:
        """Keep a message, to be delivered from some seconds on."""
        self._numbers += 1
        ready_at = self._time.monotonic() + delay
        self.messages.append(Message(self._numbers, batch_id, ready_at))
        self._note(f"    message {self._numbers} for batch {batch_id}, in {delay} s")

    def ready(self) -> list[Message]:
        """What may be delivered now, in any order."""
        now = self._time.monotonic()
        return [message for message in self.messages if message.ready_at <= now]

    def take(self, message: Message) -> None:
        """The message is in work, and nowhere else."""
        self.messages.remove(message)

    def orphan(self, message: Message) -> None:
        """Who had the message died: it is lost, or comes again."""
        if self._fate.happens(1.0 - self._fate.weather.returned):
            self._note(f"    message {message.number} is lost with its worker")
        else:
            self.put(message.batch_id, self._choose(DELAYS))

    def flush(self) -> None:
        """Forget everything."""
        self.messages.clear()
