"""Celery's own command, as an operator runs it to look at workers."""

import json
import subprocess
import sys
from typing import Any

from tests.support.service_processes import bare

_PING = ["celery", "--app", "worker.remote", "inspect", "ping", "--json"]


def ping_workers(**environment: str) -> dict[str, Any] | None:
    """Returns the replies of the workers by their names; None if none replied."""
    done = subprocess.run(
        [sys.executable, "-m", *_PING],
        check=False,
        env=bare(**environment),
        capture_output=True,
        text=True,
    )
    if done.returncode != 0:
        return None
    replies: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return replies
