"""Authenticated calls of one LMS: its token or key, bounded answers, one origin."""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version

import httpx
import structlog

from enrollment.domain.destinations.records import Auth
from enrollment.domain.retries import parse_retry_after
from enrollment.runtime.outbound.exchanges import CALL_ERRORS, failure_name, read_bounded
from enrollment.runtime.outbound.guarded_http import OUTBOUND_TOTAL_SECONDS, total_seconds
from enrollment.runtime.tracing.spans import add_trace_headers
from worker.destinations.openedx.answers import LmsAnswer, LmsFailure

log = structlog.get_logger()

#: Path of the token request, from the root of the LMS.
TOKEN_PATH = "/oauth2/access_token"  # noqa: S105 (no secret)
#: Bytes of an answer that are read, unless a call permits more.
MAX_ANSWER_BYTES = 65_536
#: Seconds before the end of a token at which the next one is fetched; at most half of its life.
TOKEN_MARGIN = 30.0
#: Characters of a token that is accepted: it becomes a header.
_MAX_TOKEN = 16_384


class _Token:
    """A token and when to replace it. Compared by identity."""

    def __init__(self, text: str, replace_at: float) -> None:
        self.text = text
        self.replace_at = replace_at


@dataclass(slots=True, kw_only=True)
class LmsSession:
    """Calls one LMS; may be used by several threads, which share its token."""

    #: Of the LMS, without a slash at its end.
    root: str
    auth: Auth = field(repr=False)
    http: httpx.Client
    total: float = OUTBOUND_TOTAL_SECONDS
    monotonic: Callable[[], float] = time.monotonic
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _token: _Token | None = None
    #: The last failure to fetch a token, and when it ended.
    _failure: tuple[float, LmsFailure] | None = None

    def get(self, path: str, params: Mapping[str, str], *, limit: int) -> LmsAnswer:
        """Reads at most `limit` bytes. Raises LmsFailure without an answer."""
        url = str(httpx.URL(self.root + path, params=params))
        return self._authenticated("GET", url, None, {}, limit)

    def post(self, path: str, body: bytes, headers: Mapping[str, str]) -> LmsAnswer:
        """Sends JSON. Raises LmsFailure without an answer."""
        sent = {"Content-Type": "application/json", **headers}
        return self._authenticated("POST", self.root + path, body, sent, MAX_ANSWER_BYTES)

    def forget_token(self) -> None:
        """Makes the next call fetch a new token."""
        with self._lock:
            self._token = None

    def _authenticated(
        self, method: str, url: str, body: bytes | None, headers: Mapping[str, str], limit: int
    ) -> LmsAnswer:
        """Sends once, and once more with a new token if the LMS does not know the token."""
        if self.auth.api_key is not None:
            return self._send(method, url, body, {**headers, **self._key_header()}, limit)
        token = self._current_token()
        answer = self._send(method, url, body, {**headers, **_header(token)}, limit)
        if answer.is_refused_credential:
            token = self._current_token(refused=token)
            answer = self._send(method, url, body, {**headers, **_header(token)}, limit)
        return answer

    def _key_header(self) -> dict[str, str]:
        return {"X-Edx-Api-Key": self.auth.api_key or ""}

    def _current_token(self, *, refused: _Token | None = None) -> _Token:
        """Returns the token; one thread fetches it, the others wait. Raises LmsFailure.

        A failure is that of all who waited: else they would try, and wait, one after the other.
        """
        requested_at = self.monotonic()
        with self._lock:
            if self._failure is not None and self._failure[0] > requested_at:
                raise self._failure[1]
            token = self._token
            if token is None or token is refused or self.monotonic() >= token.replace_at:
                self._token = None
                self._failure = None
                try:
                    self._token = token = self._fetch_token()
                except LmsFailure as failure:
                    self._failure = self.monotonic(), failure
                    raise
            return token

    def _fetch_token(self) -> _Token:
        """Fetches a token by client credentials (RFC 6749, 4.4). Raises LmsFailure."""
        form = {
            "grant_type": "client_credentials",
            "client_id": self.auth.client_id or "",
            "client_secret": self.auth.client_secret or "",
            "token_type": "jwt",
        }
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        began_at = self.monotonic()
        encoded = str(httpx.QueryParams(form)).encode()
        answer = self._send("POST", self.root + TOKEN_PATH, encoded, headers, MAX_ANSWER_BYTES)
        if not answer.is_success:
            raise LmsFailure("token_refused", answer)
        members = answer.members() or {}
        text, seconds = members.get("access_token"), members.get("expires_in")
        if not _is_token(text) or isinstance(seconds, bool) or not isinstance(seconds, int):
            # not with its body, which may have a token
            raise LmsFailure("malformed_token", LmsAnswer(answer.status, b""))
        life = float(min(max(seconds, 0), 86_400))
        return _Token(str(text), began_at + life - min(TOKEN_MARGIN, life / 2))

    def _send(
        self, method: str, url: str, body: bytes | None, headers: Mapping[str, str], limit: int
    ) -> LmsAnswer:
        """Sends one request, without its redirects. Raises LmsFailure."""
        sent = {
            "Accept": "application/json",
            "User-Agent": f"enrollment-service/{version('enrollment-service')}",
            **headers,
        }
        add_trace_headers(sent)
        try:
            with (
                total_seconds(self.total),
                self.http.stream(method, url, content=body, headers=sent) as response,
            ):
                read = read_bounded(response, limit)
                retry_after = parse_retry_after(response.headers, datetime.now(UTC))
                return LmsAnswer(
                    response.status_code,
                    read.start,
                    read.is_whole,
                    retry_after,
                    self._secrets(headers),
                )
        except CALL_ERRORS as error:
            log.info("destination.call_failed", because=type(error).__name__)
            raise LmsFailure(failure_name(error)) from error

    def _secrets(self, headers: Mapping[str, str]) -> tuple[str, ...]:
        """Returns what was sent and must not be stored, should an answer repeat it."""
        token = headers.get("Authorization", "").rpartition(" ")[2]
        found = (token, self.auth.client_secret, self.auth.api_key)
        return tuple(each for each in found if each)


def _header(token: _Token) -> dict[str, str]:
    return {"Authorization": f"JWT {token.text}"}


def _is_token(text: object) -> bool:
    return (
        isinstance(text, str)
        and 0 < len(text) <= _MAX_TOKEN
        and text.isascii()
        and text.isprintable()
        and " " not in text
    )
