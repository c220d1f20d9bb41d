"""A primary and a replica of Redis, and three Sentinels that watch them."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple, TypeVar

import redis

from tests.support.servers import LOOPBACK, RedisServer
from tests.support.service_processes import wait_until
from tests.support.temporary_folders import working_folder

_Server = TypeVar("_Server", bound=RedisServer)

SERVICE = "enroll-test"
COUNT, QUORUM = 3, 2
#: Milliseconds of silence after which a Sentinel takes the primary for dead.
DOWN_AFTER_MS = 1_000
_CONFIGURATION = """
port {port}
bind {host}
dir {folder}
sentinel monitor {service} {host} {primary} {quorum}
sentinel down-after-milliseconds {service} {down_after}
sentinel failover-timeout {service} 6000
"""


class Replica(RedisServer):
    """A Redis that follows another one."""

    def __init__(self, folder: Path, primary: RedisServer) -> None:
        super().__init__(folder)
        self._primary = primary

    def command(self) -> Sequence[str | Path]:
        return [*super().command(), "--replicaof", LOOPBACK, str(self._primary.port)]


class SentinelServer(RedisServer):
    """One Sentinel; it writes what it learns into its configuration file."""

    def __init__(self, folder: Path, primary: RedisServer) -> None:
        super().__init__(folder)
        self._primary = primary

    def command(self) -> Sequence[str | Path]:
        file = self.folder / "sentinel.conf"
        if not file.exists() or f"port {self.port}\n" not in file.read_text():
            file.write_text(
                _CONFIGURATION.format(
                    port=self.port,
                    host=LOOPBACK,
                    folder=self.folder,
                    service=SERVICE,
                    primary=self._primary.port,
                    quorum=QUORUM,
                    down_after=DOWN_AFTER_MS,
                )
            )
        return [self._program, file, "--sentinel"]

    def sees_all(self) -> bool:
        """Returns whether it knows the replica and the other Sentinels."""
        with redis.Redis(port=self.port, socket_timeout=2) as client:
            seen = client.sentinel_masters()[SERVICE]
        return seen["num-slaves"] == 1 and seen["num-other-sentinels"] == COUNT - 1


class Watched(NamedTuple):
    """The servers. The primary is the first one until it fails."""

    primary: RedisServer
    replica: Replica
    sentinels: list[SentinelServer]

    @property
    def url(self) -> str:
        """The URL for the service; at its first address nobody answers."""
        hosts = ",".join(f"{LOOPBACK}:{port}" for port in (1, *(s.port for s in self.sentinels)))
        return f"redis+sentinel://{hosts}/{SERVICE}/0"


@contextmanager
def watched_redis() -> Iterator[Watched]:
    """Starts all of them and waits until each Sentinel knows the others."""
    with ExitStack() as stack:

        def started(server: _Server) -> _Server:
            stack.callback(server.stop)
            return server.start()

        def folder() -> Path:
            return stack.enter_context(working_folder())

        primary = started(RedisServer(folder()))
        replica = started(Replica(folder(), primary))
        sentinels = [started(SentinelServer(folder(), primary)) for _ in range(COUNT)]
        for each in sentinels:
            wait_until(each.sees_all)
        yield Watched(primary, replica, sentinels)
