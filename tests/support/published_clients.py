"""Published clients of the Enrollment API in environments of their own, from the package index."""

import json
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

import pytest

from tests.support.interpreters import find_interpreters
from tests.support.service_processes import tied

SCRIPTS = Path(__file__).parents[1] / "acceptance" / "openedx" / "clients"
#: Seconds within which an environment is made.
MAX_SECONDS = 300
_READY = "ready.txt"


class Published(NamedTuple):
    """A client: its Python, its requirements and the script with its steps."""

    python: str
    requirements: tuple[str, ...]
    script: str


_REST = (
    "edx-api-client==1.14.0",
    "edx-rest-api-client==7.1.0",
    "openedx-rest-api-client==1.0.1",
)
CLIENTS: Mapping[str, Published] = {
    "edx-api-client": Published("3.11", _REST, "edx_api_client.py"),
    "edx-rest-api-client": Published("3.11", _REST, "oauth_api_client.py"),
    "openedx-rest-api-client": Published("3.11", _REST, "openedx_rest_client.py"),
    "edx-enterprise": Published("3.12", ("edx-enterprise==8.18.0",), "enterprise_client.py"),
}


def environment_python(folder: Path, client: Published) -> Path:
    """Returns the Python of an environment with the client; makes it if it is not in the folder.

    Skips the test where the Python is missing or the package index cannot be reached.
    """
    home = folder / f"python{client.python}"
    wanted = "\n".join(client.requirements)
    if not (home / _READY).exists() or (home / _READY).read_text() != wanted:
        shutil.rmtree(home, ignore_errors=True)
        _make(home, client)
        (home / _READY).write_text(wanted)
    return home / "bin" / "python"


def _make(home: Path, client: Published) -> None:
    interpreter = find_interpreters().get(client.python)
    if interpreter is None:
        pytest.skip(f"Python {client.python} is not on this machine: {client.requirements[0]}")
    _run([interpreter, "-m", "venv", home])
    pip = [home / "bin" / "python", "-m", "pip", "install", "--quiet"]
    done = _run([*pip, "--disable-pip-version-check", *client.requirements])
    if done.returncode:
        text = done.stderr[-2000:]
        unreachable = "No matching distribution" in text or "Could not fetch" in text
        (pytest.skip if unreachable else pytest.fail)(f"{client.requirements[0]}: {text}")


def _run(command: Sequence[object]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(word) for word in command],
        capture_output=True,
        text=True,
        timeout=MAX_SECONDS,
        check=False,
    )


class ClientProcess:
    """A client's script in its own environment, which takes one step after another."""

    def __init__(self, python: Path, script: str, **environment: str) -> None:
        self._command = tied([python, SCRIPTS / script])
        kept = ("PATH", "HOME", "LANG")
        self._environment = {name: os.environ[name] for name in kept if name in os.environ}
        self._environment |= environment

    def __enter__(self) -> Self:
        """Starts it."""
        self._process = subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=self._environment,
        )
        return self

    def __exit__(self, *_: object) -> None:
        """Ends it."""
        self._process.kill()
        self._process.communicate()

    def do(self, step: str, **arguments: object) -> Any:
        """Returns what the client returned; fails with its last words if it ended."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"step": step, **arguments}) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            _, errors = self._process.communicate()
            pytest.fail(f"{step}: {errors[-3000:]}")
        return json.loads(line)
