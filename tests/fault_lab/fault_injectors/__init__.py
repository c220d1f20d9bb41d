"""The faults of the matrix, one class each; `FAULTS` lists them in order."""

from collections.abc import Mapping, Sequence

from tests.fault_lab.fault_injectors.base import BOTH, POSTGRESQL, SQLITE, Fault, RunContext
from tests.fault_lab.fault_injectors.database import (
    Deadlocks,
    DiskFull,
    PostgresBusy,
    PostgresRestarted,
    SyncFails,
)
from tests.fault_lab.fault_injectors.machine import ClocksWrong, ShortOfEverything
from tests.fault_lab.fault_injectors.messages import (
    DeliveredTenTimes,
    OtherReleases,
    PoisonousMessages,
    Reordered,
)
from tests.fault_lab.fault_injectors.network import (
    GatewaysCutOffAtCommit,
    ReadersCutOff,
    RedisCutOff,
    WorkersCutOffAtCommit,
)
from tests.fault_lab.fault_injectors.processes import (
    ChildrenKilled,
    GatewaysHeld,
    GatewaysKilled,
    RollingRestart,
    SchedulesKilled,
    SchedulesTwice,
    WorkersHeld,
    WorkersKilled,
)
from tests.fault_lab.fault_injectors.redis_server import (
    RedisFlushed,
    RedisFrozen,
    RedisKilled,
    RedisOutdated,
    RedisUnwilling,
)
from tests.fault_lab.fault_injectors.requests import (
    BodyBombs,
    Burst,
    Dawdlers,
    LastSeat,
    Poison,
    SlowPoison,
)

__all__ = ["BOTH", "FAULTS", "NOT_HERE", "POSTGRESQL", "SQLITE", "Fault", "RunContext"]

FAULTS: Sequence[type[Fault]] = (
    GatewaysKilled,
    WorkersKilled,
    ChildrenKilled,
    SchedulesKilled,
    RollingRestart,
    WorkersHeld,
    GatewaysHeld,
    RedisKilled,
    RedisOutdated,
    RedisFlushed,
    RedisFrozen,
    RedisUnwilling,
    RedisCutOff,
    WorkersCutOffAtCommit,
    GatewaysCutOffAtCommit,
    PostgresRestarted,
    PostgresBusy,
    Deadlocks,
    DiskFull,
    SyncFails,
    ShortOfEverything,
    ClocksWrong,
    DeliveredTenTimes,
    Reordered,
    Poison,
    SlowPoison,
    PoisonousMessages,
    OtherReleases,
    SchedulesTwice,
    ReadersCutOff,
    Dawdlers,
    BodyBombs,
    Burst,
    LastSeat,
)

#: Faults of the matrix that are not injected, each with the reason.
NOT_HERE: Mapping[str, str] = {
    "F29": "there is no outbox relay: positions are taken in the transaction itself",
    "F30": "there are no webhooks yet",
    "F36": "restoring a backup begins another history; documented, not judged",
    "F37": "hours of random faults: --seconds and --seeds",
}
