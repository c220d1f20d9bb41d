"""Logs failed authentications, at a bounded rate: guessing must not fill the disk."""

import time
from collections.abc import Callable

import structlog

from api_gateway.http.problems import Problem

log = structlog.get_logger()

#: Most records in so many seconds; the next one after them says how many were not logged.
MAX_RECORDS = 20
PERIOD_SECONDS = 10.0


class FailureLog:
    """Logs `auth.failed`. Belongs to one event loop."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._ends = 0.0
        self._logged = 0
        self._not_logged = 0

    def note(self, address: str, way: str, problem: Problem) -> None:
        """Logs a refused credential, which itself is never logged.

        `way` is what it was shown to: `request`, `token` or `console`.
        """
        now = self._clock()
        if now >= self._ends:
            self._ends, self._logged = now + PERIOD_SECONDS, 0
        if self._logged >= MAX_RECORDS:
            self._not_logged += 1
            return
        self._logged += 1
        not_logged, self._not_logged = self._not_logged, 0
        log.warning(
            "auth.failed",
            address=address,
            way=way,
            reason=problem.detail,
            code=problem.members.get("error_code", problem.code),
            not_logged=not_logged,
        )
