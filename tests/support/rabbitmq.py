"""A real RabbitMQ for tests, started here and removed at the end.

The program on this machine runs with its own ports, node name and folder. `ServerMissing` is raised
if there is none; some tests accept one that `ENROLL_TEST_RABBITMQ_URL` names.
"""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Self

import amqp

from tests.support.binaries import ServerMissing
from tests.support.servers import LOOPBACK, _Server, free_port
from tests.support.service_processes import tied
from tests.support.temporary_folders import working_folder

START_SECONDS = 120.0
#: The script of Debian that does not change the user.
PLACES = ("/usr/lib/rabbitmq/bin", "/usr/local/sbin", "/opt/homebrew/sbin")


def rabbitmq_program() -> Path:
    """Returns the script that starts a server. Raises ServerMissing."""
    found = shutil.which("rabbitmq-server", path=os.pathsep.join((*PLACES, os.environ["PATH"])))
    if found is None or not (shutil.which("epmd") and shutil.which("erl")):
        raise ServerMissing("no RabbitMQ: install it, or name one in ENROLL_TEST_RABBITMQ_URL")
    return Path(found)


class RabbitServer(_Server):
    """A RabbitMQ server; confirmed messages survive a restart."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, None)
        self._program = rabbitmq_program()
        self._epmd: subprocess.Popen[bytes] | None = None
        self._epmd_port = free_port()
        self._node = f"enroll-{self.port}@localhost"

    @property
    def url(self) -> str:
        return f"amqp://guest:guest@{LOOPBACK}:{self.port}//"

    def start(self) -> Self:
        """Starts the server and waits until it answers."""
        self._start_epmd()
        self._process = self._spawn()
        deadline = time.monotonic() + START_SECONDS
        while not self.answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"RabbitMQ did not start:\n{self._last_words()}")
            time.sleep(0.1)
        return self

    def stop(self) -> None:
        """Stops the server in order; its SIGINT means something else."""
        if self._process is not None:
            self.release()
            self._process.send_signal(signal.SIGTERM)
            self._bury()

    def bury(self) -> None:
        """Kills the server and removes its files."""
        with suppress(ProcessLookupError):
            self.kill()
        if self._epmd is not None:
            self._epmd.kill()
            self._epmd.wait()

    def _start_epmd(self) -> None:
        """Runs Erlang's name service on its own port; otherwise Erlang leaves one running."""
        if self._epmd is None:
            words = tied([shutil.which("epmd"), "-port", self._epmd_port, "-address", LOOPBACK])
            quiet = subprocess.DEVNULL
            self._epmd = subprocess.Popen(words, stdin=quiet, stdout=quiet, stderr=quiet)

    def command(self) -> Sequence[str | Path]:
        (self.folder / "rabbitmq.conf").write_text(
            f"listeners.tcp.1 = {LOOPBACK}:{self.port}\ncluster_name = {self._node}\n"
            "disk_free_limit.absolute = 1MB\n"
            "log.console = true\nlog.console.level = warning\nlog.file = false\n"
        )
        (self.folder / "plugins").write_text("[].\n")
        settings = {
            "HOME": self.folder,
            "ERL_EPMD_PORT": self._epmd_port,
            "RABBITMQ_NODENAME": self._node,
            "RABBITMQ_DIST_PORT": free_port(),
            "RABBITMQ_CONFIG_FILE": self.folder / "rabbitmq.conf",
            "RABBITMQ_ENABLED_PLUGINS_FILE": self.folder / "plugins",
            "RABBITMQ_MNESIA_BASE": self.folder / "data",
            "RABBITMQ_LOG_BASE": self.folder,
            "RABBITMQ_PID_FILE": self.folder / "pid",
            "RABBITMQ_ALLOW_INPUT": "1",  # so that the script becomes the server
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 1:1 +sbwt none -start_epmd false -noinput",
        }
        return [
            str(shutil.which("env")),
            *(f"{name}={value}" for name, value in settings.items()),
            self._program,
        ]

    def answers(self) -> bool:
        try:
            with amqp.Connection(f"{LOOPBACK}:{self.port}", connect_timeout=2) as connection:
                return connection.server_properties["cluster_name"] == self._node
        except (OSError, amqp.AMQPError):
            return False


@contextmanager
def rabbitmq_process() -> Iterator[RabbitServer]:
    """Starts a RabbitMQ for tests that stop, kill or suspend it."""
    with ExitStack() as stack:
        server = RabbitServer(stack.enter_context(working_folder(on_disk=False)))
        stack.callback(server.bury)
        yield server.start()
