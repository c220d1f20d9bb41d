"""Environments with programs that generate clients, kept in a folder of the user between runs."""

import fcntl
import hashlib
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.packages import outside, run

SOURCES = Path(__file__).parents[1] / "acceptance" / "generated_clients"
_CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")


def python_environment() -> Path:
    """Returns a virtual environment with `requirements.txt`; skips the test without an index."""

    def install(folder: Path) -> None:
        _install([sys.executable, "-m", "venv", folder], folder)
        requirements = SOURCES / "requirements.txt"
        _install([folder / "bin/pip", "install", "-q", "--no-deps", "-r", requirements], folder)

    with _kept("python", install, SOURCES / "requirements.txt") as folder:
        return folder


def node_environment() -> Path:
    """Returns a folder with the `node_modules` of the lock; skips the test without Node or index."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("there is no Node.js with npm")

    def install(folder: Path) -> None:
        for name in ("package.json", "package-lock.json"):
            shutil.copy(SOURCES / name, folder)
        _install(["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"], folder)

    with _kept("node", install, SOURCES / "package-lock.json") as folder:
        return folder


@contextmanager
def _kept(name: str, install: Callable[[Path], None], pinned: Path) -> Iterator[Path]:
    """Gives the folder for these versions; one process at a time makes it, the others wait."""
    content = f"{sys.version}{pinned.read_text()}".encode()
    root = _CACHE / "enrollment-service-tests"
    root.mkdir(parents=True, exist_ok=True)
    folder = root / f"{name}-{hashlib.sha256(content).hexdigest()[:16]}"
    with (root / f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "complete").exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            install(folder)
            (folder / "complete").touch()
        yield folder


def _install(command: list[object], folder: Path) -> None:
    """Runs an installer; skips the test with its last words if it fails."""
    done = run(command, folder=folder, environment=outside(PIP_RETRIES="1", npm_config_yes="true"))
    if done.returncode != 0:
        last_words = (done.stderr.strip() or done.stdout.strip())[-500:]
        pytest.skip(f"{command[0]} could not install the generators: {last_words}")
