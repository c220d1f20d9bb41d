"""The proxies of deploy/ in front of test gateways, if the machine has their programs."""

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx

from tests.support.servers import LOOPBACK, free_port
from tests.support.service_processes import tied, wait_until

DEPLOY = Path(__file__).parents[2] / "deploy"
#: Debian keeps them where only root's PATH leads.
_PATHS = "/usr/bin:/usr/local/bin:/usr/sbin:/usr/local/sbin"
HAPROXY = shutil.which("haproxy", path=_PATHS)
NGINX = shutil.which("nginx", path=_PATHS)
HAPROXY_FILES = ["-f", DEPLOY / "haproxy" / "haproxy.cfg", "-f", DEPLOY / "haproxy" / "hosts.cfg"]
_NGINX_MAIN = """
daemon off;
pid {folder}/pid;
error_log stderr;
{user}
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/enroll.conf;
}}
"""


def haproxy_environment(port: int, gateways: Sequence[int]) -> dict[str, str]:
    """Returns what HAProxy's files are told by variables."""
    named = {f"ENROLL_GATEWAY_{n}": f"{LOOPBACK}:{at}" for n, at in enumerate(gateways, 1)}
    return {**os.environ, "ENROLL_PROXY_BIND": f"{LOOPBACK}:{port}", **named}


def nginx_files(folder: Path, port: int, gateways: Sequence[int]) -> Path:
    """Writes the example for these ports; returns the main file that includes it."""
    text = (DEPLOY / "nginx" / "enroll.conf").read_text()
    ports = {"8000": port, "8001": gateways[0], "8002": gateways[1]}
    text = re.sub(r"\b800[012]\b", lambda found: str(ports[found[0]]), text)
    (folder / "enroll.conf").write_text(text)
    main = folder / "nginx.conf"
    user = "user nobody nogroup;" if os.getuid() == 0 else ""
    main.write_text(_NGINX_MAIN.format(folder=folder, user=user))
    return main


@contextmanager
def haproxy(folder: Path, gateways: Sequence[int]) -> Iterator[int]:
    """Runs HAProxy in front of two gateways; yields its port."""
    port = free_port()
    command = [HAPROXY, "-db", *HAPROXY_FILES]
    with _running(folder, command, port, haproxy_environment(port, gateways)):
        yield port


@contextmanager
def nginx(folder: Path, gateways: Sequence[int]) -> Iterator[int]:
    """Runs nginx in front of two gateways; yields its port."""
    port = free_port()
    command = [NGINX, "-c", nginx_files(folder, port, gateways)]
    with _running(folder, command, port, dict(os.environ)):
        yield port


PROXIES: dict[str, Callable[..., object]] = {"haproxy": haproxy, "nginx": nginx}


@contextmanager
def _running(
    folder: Path, command: Sequence[object], port: int, environment: dict[str, str]
) -> Iterator[None]:
    log_file = folder / "log"

    def answers() -> bool:
        try:
            return httpx.get(f"http://{LOOPBACK}:{port}/livez", timeout=5).is_success
        except httpx.TransportError:
            return False

    with (
        log_file.open("wb") as log,
        subprocess.Popen(tied(command), env=environment, stdout=log, stderr=log) as process,
    ):
        try:
            wait_until(answers, log_file.read_text)
            yield
        finally:
            process.terminate()
