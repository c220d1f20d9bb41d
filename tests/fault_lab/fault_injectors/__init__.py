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
from tests.fault_lab.fault_injectors.machine import ClocksWrong, ResourcesExhausted
from tests.fault_lab.fault_injectors.messages import (
    DeliveredTenTimes,
    MalformedMessages,
    OtherReleases,
    Reordered,
)
from tests.fault_lab.fault_injectors.network import (
    GatewaysCutOffAtCommit,
    ReadersCutOff,
    RedisCutOff,
    WorkersCutOffAtCommit,
    WorkersVanish,
)
from tests.fault_lab.fault_injectors.processes import (
    ChildrenKilled,
    GatewaysKilled,
    GatewaysStopped,
    RollingRestart,
    SchedulesKilled,
    SchedulesTwice,
    WorkersKilled,
    WorkersStopped,
)
from tests.fault_lab.fault_injectors.redis_server import (
    RedisFlushed,
    RedisFrozen,
    RedisKilled,
    RedisRefusing,
    RedisRestoredStale,
)
from tests.fault_lab.fault_injectors.requests import (
    BodyBombs,
    Burst,
    LastSeat,
    Poison,
    SlowClients,
    SlowPoison,
)

__all__ = ["BOTH", "FAULTS", "NOT_HERE", "POSTGRESQL", "SQLITE", "Fault", "RunContext"]

FAULTS: Sequence[type[Fault]] = (
    GatewaysKilled,
    WorkersKilled,
    ChildrenKilled,
    SchedulesKilled,
    RollingRestart,
    WorkersStopped,
    GatewaysStopped,
    RedisKilled,
    RedisRestoredStale,
    RedisFlushed,
    RedisFrozen,
    RedisRefusing,
    RedisCutOff,
    WorkersCutOffAtCommit,
    WorkersVanish,
    GatewaysCutOffAtCommit,
    PostgresRestarted,
    PostgresBusy,
    Deadlocks,
    DiskFull,
    SyncFails,
    ResourcesExhausted,
    ClocksWrong,
    DeliveredTenTimes,
    Reordered,
    Poison,
    SlowPoison,
    MalformedMessages,
    OtherReleases,
    SchedulesTwice,
    ReadersCutOff,
    SlowClients,
    BodyBombs,
    Burst,
    LastSeat,
)

#: Faults of the matrix that are not injected, each with the reason.
UNAVAILABLE: Mapping[str, str] = {
    "F36": "restoring a backup begins another history; documented, not checked",
    "F37": "hours of random faults: --seconds and --seeds",
}
