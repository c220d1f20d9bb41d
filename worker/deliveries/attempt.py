"""One attempt to send a message to an endpoint."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from importlib.metadata import version
from typing import NamedTuple

import httpx
import structlog

from enrollment.domain.retries import parse_retry_after
from enrollment.runtime.outbound.exchanges import (
    CALL_ERRORS,
    failure_name,
    read_bounded,
    storable_text,
)
from enrollment.runtime.outbound.guarded_http import OUTBOUND_TOTAL_SECONDS, total_seconds
from enrollment.runtime.tracing.spans import add_trace_headers
from worker.deliveries.signatures import signed_headers

log = structlog.get_logger()

#: Bytes of an answer that are read and stored.
ANSWER_BYTES = 1_000
#: Status that asks for no more messages (410 Gone).
_UNSUBSCRIBED = 410


class AttemptOutcome(NamedTuple):
    """The answer of an endpoint, or why there is none."""

    status: int | None = None
    answer: str | None = None
    #: None for a success.
    error: str | None = None
    #: Seconds that the endpoint asked to wait.
    retry_after: float = 0.0

    @property
    def is_unsubscribed(self) -> bool:
        """Whether the endpoint wants no more messages."""
        return self.status == _UNSUBSCRIBED


@dataclass(frozen=True, slots=True, kw_only=True)
class Sender:
    """Sends messages; may be used by several threads."""

    http: httpx.Client
    total: float = OUTBOUND_TOTAL_SECONDS

    def send(
        self, url: str, message_id: str, body: bytes, secrets: Sequence[str], *, now: datetime
    ) -> AttemptOutcome:
        """Sends a message, signed with each secret; waits for the answer in bounded time."""
        headers = {
            "Content-Type": "application/json",
            "User-Agent": _user_agent(),
            **signed_headers(message_id, int(now.timestamp()), body, secrets),
        }
        add_trace_headers(headers)
        try:
            with total_seconds(self.total):
                return self._exchange(url, headers, body, now)
        except CALL_ERRORS as error:
            log.info("webhook.attempt_failed", because=type(error).__name__)
            return AttemptOutcome(error=failure_name(error))

    def _exchange(
        self, url: str, headers: Mapping[str, str], body: bytes, now: datetime
    ) -> AttemptOutcome:
        with self.http.stream("POST", url, content=body, headers=headers) as response:
            body_read = read_bounded(response, ANSWER_BYTES)
            if body_read.cut_by is not None:
                log.info("webhook.answer_cut", because=body_read.cut_by)
            answer = storable_text(body_read.start)
            error = None if response.is_success else _refusal(response)
            retry_after = parse_retry_after(response.headers, now)
            return AttemptOutcome(response.status_code, answer, error, retry_after)


@cache
def _user_agent() -> str:
    return f"enrollment-service/{version('enrollment-service')}"


def _refusal(response: httpx.Response) -> str:
    return "redirect" if response.is_redirect else "refused"
