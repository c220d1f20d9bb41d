"""Answers of an LMS, and failures to get one."""

import json
from typing import Any, NamedTuple
from urllib.parse import quote, quote_plus

from enrollment.runtime.outbound.exchanges import storable_text
from worker.destinations.protocol import DestinationFailure

#: Bytes of an answer that are stored.
STORED_BYTES = 1_000
UNAUTHORIZED = 401
#: Stands for a credential.
_HIDDEN = "[hidden]"


class LmsAnswer(NamedTuple):
    """An answer that was read to its end or to its limit."""

    status: int
    body: bytes
    is_whole: bool = True
    #: Seconds that the LMS asked to wait.
    retry_after: float = 0.0
    #: Credentials of the request.
    secrets: tuple[str, ...] = ()

    @property
    def is_success(self) -> bool:
        """Whether the status is 2xx."""
        return 200 <= self.status < 300  # noqa: PLR2004

    @property
    def is_refused_credential(self) -> bool:
        """Whether the LMS does not know the token or the key."""
        return self.status == UNAUTHORIZED

    @property
    def stored(self) -> str:
        """The first bytes as text that can be stored, without the credentials of the request.

        Some servers show the request on their pages of errors.
        """
        text = self.body.decode(errors="replace")
        for secret in self.secrets:
            for written in {secret, quote(secret, safe=""), quote_plus(secret)}:
                text = text.replace(written, _HIDDEN)
        return storable_text(text.encode(errors="replace")[:STORED_BYTES])

    def members(self) -> dict[str, Any] | None:
        """Returns the members of the JSON object; None if the body is no complete one."""
        try:
            found = json.loads(self.body) if self.is_whole else None
        except (ValueError, RecursionError):  # neither JSON nor UTF-8, or nested without end
            return None
        return found if isinstance(found, dict) else None


class LmsFailure(DestinationFailure):
    """A call got no answer that can be used; the message is a stable name of the failure."""

    def __init__(self, name: str, answer: LmsAnswer | None = None) -> None:
        super().__init__(name, name if answer is None else f"{name} (status {answer.status})")
        self.answer = answer
