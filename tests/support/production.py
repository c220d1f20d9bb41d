"""Runs the commands of docker-compose.yml as plain processes, beside real servers."""

import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Self

import httpx
import yaml

from tests.support.roles import RoleUrls
from tests.support.servers import RedisServer, free_port
from tests.support.service_processes import Running, client, is_ready, wait_until

ROOT = Path(__file__).parents[2]
SERVICES: Mapping[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
GATEWAYS = 2
EDX_KEY = "the one key of an unmodified installation"
_VARIABLE = re.compile(r"\$\{(\w+):-([^}]*)\}")


def environment_of(service: str, **given: str) -> dict[str, str]:
    """Returns the environment of a container of the service."""

    def value(use: re.Match[str]) -> str:
        name, otherwise = use.groups()
        return given.get(name) or otherwise

    environment: dict[str, str] = SERVICES[service]["environment"]
    return {name: _VARIABLE.sub(value, text) for name, text in environment.items()}


class Production:
    """Two gateways, a worker and the schedule; its Redis can be stopped and killed."""

    def __init__(
        self,
        folder: Path,
        urls: RoleUrls,
        redis: RedisServer,
        *,
        redis_url: str = "",
        **given: str,
    ) -> None:
        """Each service has the role for it, and all use Redis by `redis_url`."""
        self.redis = redis
        self.database_url = urls.superuser
        self._redis_url = redis_url or redis.url
        self._database_urls = {"migrate": urls.migrator, "gateway": urls.gateway}
        self._worker_url = urls.worker
        self._folder = folder
        self._given = {"POSTGRES_PASSWORD": "a long random word", **given}
        self._ports = [free_port() for _ in range(GATEWAYS)]
        self._running: list[Running] = []
        self.key = ""

    def __enter__(self) -> Self:
        """Starts everything and waits until it is ready."""
        assert self._run("migrate").process.wait() == 0
        self.key = self._new_key()
        self.gateways = [self._run("gateway", port) for port in self._ports]
        self.beat = self._run("beat")
        self.start_worker()
        for url in self.urls:
            wait_until(partial(is_ready, url), self.log)
        return self

    def __exit__(self, *_: object) -> None:
        """Stops everything."""
        for one in self._running:
            one.bury()

    def start_worker(self) -> None:
        """Starts another worker after the previous one has ended."""
        self.worker = self._run("worker")

    @property
    def urls(self) -> list[str]:
        """Returns the URLs of the gateways."""
        return [f"http://127.0.0.1:{port}" for port in self._ports]

    @contextmanager
    def clients(self) -> Iterator[list[httpx.Client]]:
        """Returns a client for each gateway, as admin."""
        first, second = (client(url, self.key) for url in self.urls)
        with first, second:
            yield [first, second]

    def log(self) -> str:
        """Returns the logs of all processes."""
        return "\n".join(one.log() for one in self._running)

    def healthcheck(self, port: int) -> int:
        """Returns the exit status of the gateway's health check."""
        words = SERVICES["gateway"]["healthcheck"]["test"][1:]
        return subprocess.run(
            [word.replace(":8000/", f":{port}/") for word in words],
            env=self._environment("gateway"),
            capture_output=True,
            check=False,
        ).returncode

    def ports(self) -> list[int]:
        """Returns the ports of the gateways."""
        return self._ports

    def _new_key(self) -> str:
        create = ["keys", "create", "admin", "--scope", "admin"]
        made = Running(self._folder, create, self._environment("gateway")).start()
        assert made.process.wait() == 0, made.log()
        return made.said().split()[-1]

    def _run(self, service: str, port: int = 8000) -> Running:
        command = SERVICES[service]["command"]
        words = [str(port) if word == "8000" else word for word in command]
        self._running.append(Running(self._folder, words, self._environment(service)).start())
        return self._running[-1]

    def _environment(self, service: str) -> dict[str, str]:
        """Returns the container's environment, with the servers and folders of the test."""
        return {
            **environment_of(service, **self._given),
            "PATH": str(Path(sys.executable).parent),
            "ENROLL_DATABASE_URL": self._database_urls.get(service, self._worker_url),
            "ENROLL_REDIS_URL": self._redis_url,
            "ENROLL_DATA_DIR": str(self._folder / "not there"),
            "ENROLL_ACCEPT_DATA_LOSS": "true",  # the servers of tests need not survive a power cut
            "ENROLL_THROTTLE": "off",
            "ENROLL_REQUEST_STREAM": "enroll:requests",
        }
