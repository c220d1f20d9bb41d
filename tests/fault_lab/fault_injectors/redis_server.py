"""Redis faults: killed, restarted with old data, flushed, frozen, full, read-only, corrupted."""

import time
from collections.abc import Callable
from typing import Any

import redis

from enrollment.runtime.broker import QueueName
from tests.fault_lab.fault_injectors.base import POSTGRESQL, QUEUES, SQLITE, UNACKED, Fault, waiting
from tests.support.servers import redis_process


class RedisKilled(Fault):
    code = "F8"
    title = "Redis killed and started again, empty"
    short = (POSTGRESQL,)
    pause = (0.3, 1.0)

    def inject(self) -> None:
        server = self.stack.redis
        before = server.pid
        server.kill()
        time.sleep(self.random.uniform(0.1, 1.0))
        server.start()
        self.context.witness(killed=before, started=server.pid)


class RedisRestoredStale(Fault):
    code = "F9"
    title = "Redis started again with what it held a while ago: old messages come back (S4)"
    where = (POSTGRESQL,)
    pause = (0.2, 0.5)

    def inject(self) -> None:
        server = self.stack.redis
        with self.queue as client:
            for worker in self.stack.workers:
                with worker.held():
                    self.context.moment(lambda: waiting(client), seconds=0.5)
                    client.save()
        time.sleep(self.random.uniform(0.5, 1.5))  # saved messages are processed meanwhile
        server.kill()
        server.start()
        with self.queue as client:
            old = waiting(client) + sum(int(client.exists(key)) for key in UNACKED)
        (server.folder / "dump.rdb").unlink(missing_ok=True)
        if old:
            self.context.witness(old_messages=old, pid=server.pid)

    def heal(self) -> None:
        (self.stack.redis.folder / "dump.rdb").unlink(missing_ok=True)


class RedisFlushed(Fault):
    code = "F10"
    title = "FLUSHALL while messages wait (S4, S5)"
    short = (SQLITE,)
    pause = (0.3, 1.0)

    def inject(self) -> None:
        with self.queue as client:
            held = self.choose([True, False])
            lost = self._with_workers_held(client) if held else self._flush(client)
        if lost:
            self.context.witness(lost_messages=lost)

    def _with_workers_held(self, client: Any) -> int:
        first, second = self.stack.workers
        with first.held(), second.held():
            self.context.moment(lambda: waiting(client) > 1, seconds=1)
            return self._flush(client)

    def _flush(self, client: Any) -> int:
        with client.pipeline(transaction=True) as together:
            for key in QUEUES.values():
                together.llen(key)
            together.hlen(UNACKED[0])
            together.flushall()
            *lengths, _ = together.execute()
        return sum(lengths)


class RedisFrozen(Fault):
    code = "F11"
    title = "Redis frozen for 1-3 s (S3)"
    short = (POSTGRESQL,)
    pause = (0.3, 1.0)
    max_p99 = 1.0

    def inject(self) -> None:
        self.stack.redis.hold()
        try:
            if not self._answers():
                self.context.witness(frozen=self.stack.redis.pid)
            time.sleep(self.random.uniform(0.7, 2.7))
        finally:
            self.stack.redis.release()

    def _answers(self) -> bool:
        try:
            with redis.Redis.from_url(self.stack.redis.url, socket_timeout=0.3) as client:
                return bool(client.ping())
        except redis.RedisError:
            return False

    def heal(self) -> None:
        self.stack.redis.release()


class RedisRefusing(Fault):
    code = "F12"
    title = "Redis full, read-only, loading, asking for a password, of the wrong type (S3-S5)"
    where = (POSTGRESQL,)
    pause = (0.2, 0.6)
    seconds = 10.0
    turn = 0

    def inject(self) -> None:
        sorts: list[Callable[[Any], None]] = [
            self._full, self._read_only, self._locked, self._wrong_type, self._loading,
        ]  # fmt: skip
        if self.turn == 0:
            self.turn = self.random.randrange(len(sorts))
        self.turn += 1
        with self.queue as client:
            sorts[self.turn % len(sorts)](client)

    def _hold_it(self) -> None:
        time.sleep(self.random.uniform(0.5, 1.5))

    def _refused(self, client: Any, sort: str) -> None:
        """The proof is a write that is refused."""
        try:
            client.lpush("probe", "x")
        except redis.RedisError as error:
            self.context.witness(sort=sort, redis_says=str(error))
        else:
            client.delete("probe")

    def _full(self, client: Any) -> None:
        client.config_set("maxmemory", 1)
        try:
            self._refused(client, "full")
            self._hold_it()
        finally:
            client.config_set("maxmemory", 0)

    def _read_only(self, client: Any) -> None:
        client.replicaof("127.0.0.1", "1")
        try:
            self._refused(client, "read-only")
            self._hold_it()
        finally:
            client.replicaof("NO", "ONE")

    def _locked(self, client: Any) -> None:
        """Disconnects all clients and requires a password."""
        client.config_set("requirepass", "not told")
        client.client_kill_filter(_type="normal", skipme=True)
        try:
            with redis.Redis.from_url(self.stack.redis.url, socket_timeout=2) as stranger:
                self._refused(stranger, "locked")
            self._hold_it()
        finally:
            client.config_set("requirepass", "")

    def _wrong_type(self, client: Any) -> None:
        spoilt = [QUEUES[QueueName.INTERACTIVE], QUEUES[QueueName.BULK], *UNACKED]
        for key in spoilt:
            client.set(key, "not what is expected")
        try:
            client.llen(spoilt[0])
        except redis.RedisError as error:
            self.context.witness(sort="wrong type", redis_says=str(error))
        self._hold_it()
        client.delete(*spoilt)

    def _loading(self, client: Any) -> None:
        """Makes it a replica that loads another server's data slowly."""
        with redis_process() as other, redis.Redis.from_url(other.url) as source:
            with source.pipeline(transaction=False) as many:
                for number in range(20_000):
                    many.set(f"ballast{number}", "x" * 20)
                many.execute()
            client.config_set("key-load-delay", 100)
            client.replicaof("127.0.0.1", other.port)
            try:
                self.context.moment(lambda: self._is_loading(client), seconds=3)
            finally:
                client.config_set("key-load-delay", 0)
                client.replicaof("NO", "ONE")
                client.flushall()

    def _is_loading(self, client: Any) -> bool:
        try:
            client.llen(QUEUES[QueueName.BULK])
        except redis.BusyLoadingError as error:
            self.context.witness(sort="loading", redis_says=str(error))
            return True
        except redis.RedisError:
            return False
        return False

    def heal(self) -> None:
        with self.queue as client:
            client.config_set("maxmemory", 0)
            client.config_set("requirepass", "")
            client.replicaof("NO", "ONE")
