"""Faults of the machine: no open files, no memory, wrong clocks."""

import resource
import time
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path

import httpx

from tests.fault_lab.fault_injectors.base import POSTGRESQL, Fault, RunContext
from tests.fault_lab.stack.stack import Overrides
from tests.fault_lab.stack.supervised_process import SupervisedProcess

FAKETIME = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))


class ResourcesExhausted(Fault):
    code = "F21"
    title = "no more open files in gateways; no more memory in pool children"
    pause = (0.3, 0.8)
    seconds = 8.0

    def inject(self) -> None:
        self.choose([self._files, self._memory])()

    def _files(self) -> None:
        """Leaves a gateway without file descriptors; new connections are not served."""
        gateway = self.choose(self.stack.gateways)
        with suppress(ProcessLookupError), ExitStack() as exits:
            pid = gateway.pid
            opened = len(list(Path(f"/proc/{pid}/fd").iterdir()))
            before = gateway.logged_times("Too many open files")
            url = self.stack.urls[self.stack.gateways.index(gateway)]
            with gateway.limited(resource.RLIMIT_NOFILE, opened + 3):
                clients = [exits.enter_context(httpx.Client(timeout=0.5)) for _ in range(8)]
                unserved = sum(not _is_served(client, url) for client in clients)
                time.sleep(self.random.uniform(0.3, 1.5))
            said = gateway.logged_times("Too many open files") - before
            if unserved or said:
                self.context.witness(no_files_in=gateway.name, unserved=unserved, logged=said)

    def _memory(self) -> None:
        """Leaves the children of a worker without new memory."""
        worker = self.choose(self.stack.workers)
        before = worker.logged_times("MemoryError")
        with worker.limited(resource.RLIMIT_AS, 1):
            time.sleep(self.random.uniform(0.3, 1.5))
        if said := worker.logged_times("MemoryError") - before:
            self.context.witness(no_memory_in=worker.name, logged=said)

    def verify(self) -> None:
        self.witness_logged("MemoryError", self.stack.workers)


def _is_served(client: httpx.Client, url: str) -> bool:
    try:
        return client.get(f"{url}/livez").is_success
    except httpx.TransportError:
        return False


class ClocksWrong(Fault):
    code = "F22"
    title = "each process's clock off by up to 3 days, and jumping; Redis flushed meanwhile"
    where = (POSTGRESQL,)  # SQLite has no clock of its own
    pause = (0.5, 1.5)

    @classmethod
    def missing(cls) -> str:
        return "" if FAKETIME else "not here: no libfaketime"

    def __init__(self, context: RunContext) -> None:
        super().__init__(context)
        self.clocks = {one.name: self._file(one) for one in self.stack.processes}

    def _file(self, one: SupervisedProcess) -> Path:
        file = self.stack.folder / f"clock-{one.name}"
        self._set(file)
        return file

    def _set(self, file: Path) -> None:
        seconds = self.random.choice([-1, 1]) * self.random.randrange(3_600, 3 * 86_400)
        new = file.with_suffix(".new")
        new.write_text(f"{seconds:+d}\n")
        new.rename(file)

    def overrides(self) -> Overrides:
        """Gives each process its own clock; the monotonic clock stays right."""
        return Overrides(
            {
                name: {
                    "LD_PRELOAD": str(FAKETIME[-1]),
                    "FAKETIME_TIMESTAMP_FILE": str(file),
                    "FAKETIME_CACHE_DURATION": "1",
                    "FAKETIME_DONT_FAKE_MONOTONIC": "1",
                }
                for name, file in self.clocks.items()
            }
        )

    def inject(self) -> None:
        self._set(self.choose(self.clocks.values()))
        if self.random.random() < 0.3:
            with self.queue as client:  # so that redispatching is needed
                client.flushall()
        for url in self.stack.urls:
            with suppress(httpx.TransportError):
                said = parsedate_to_datetime(httpx.get(f"{url}/livez").headers["Date"])
                off = (said - datetime.now(UTC)).total_seconds()
                if abs(off) > 60:
                    self.context.witness(gateway=url, seconds_off=round(off))
