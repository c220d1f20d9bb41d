"""HTTP client of a running service: retries, outages, uploads and streams."""

import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

import click
import httpx

from api_gateway.cli.exit_codes import Unreachable
from api_gateway.cli.remote.failures import failure_of

#: Path of the API, to which paths of requests are relative.
API_PREFIX = "/api/enrollment/v1"
#: Time limits in seconds: to connect, between two chunks of a response, and for an upload.
CONNECT_SECONDS = 5.0
READ_SECONDS = 75.0
UPLOAD_SECONDS = 600.0
#: Maximum number of attempts of a request without response, or with a retryable one.
MAX_REQUEST_ATTEMPTS = 5
#: Maximum pause between two attempts.
MAX_RETRY_PAUSE_SECONDS = 5.0
_RETRYABLE_STATUSES = frozenset(
    {
        HTTPStatus.TOO_MANY_REQUESTS,
        HTTPStatus.BAD_GATEWAY,
        HTTPStatus.SERVICE_UNAVAILABLE,
        HTTPStatus.GATEWAY_TIMEOUT,
    }
)
#: Dots in a JWT in compact form.
_JWT_DOTS = 2


class UploadRequest(NamedTuple):
    """An upload, which is read again for each attempt."""

    #: A file, or the contents themselves.
    body: Path | bytes
    headers: Mapping[str, str]
    params: Mapping[str, str]
    #: Called with the size of each chunk that was read.
    on_chunk: Callable[[int], None] = lambda _: None

    def read_chunks(self) -> Iterator[bytes]:
        """Yields the contents."""
        if isinstance(self.body, bytes):
            yield self.body
            return
        with self.body.open("rb") as file:
            while chunk := file.read(1 << 18):
                self.on_chunk(len(chunk))
                yield chunk


class Service:
    """Client of the service at a URL. Its methods raise Unreachable, Denied, Refused."""

    def __init__(
        self,
        url: str,
        key: str | None,
        *,
        key_hint: str = "",
        transport: httpx.BaseTransport | None = None,
        pause: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`key` is an API key or a JWT; `key_hint` says where it came from, for messages."""
        self.url = url.rstrip("/")
        self._key_hint = key_hint
        self._pause = pause
        self._clock = clock
        self._is_away = False
        self._http = httpx.Client(
            base_url=self.url,
            headers=_credentials(key),
            timeout=httpx.Timeout(READ_SECONDS, connect=CONNECT_SECONDS),
            transport=transport,
        )

    def __enter__(self) -> Self:
        """Opens the block in which connections are reused."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Closes all connections."""
        self._http.close()

    def get(
        self,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, str] | None = None,
        patience: float = 0.0,
    ) -> httpx.Response:
        """Sends a GET request; 304 is not an error.

        With `patience` an outage of the service is waited out for so many seconds.
        """
        request = self._http.build_request(
            "GET", API_PREFIX + path, headers=headers or {}, params=params or {}
        )
        return self._send(lambda: self._http.send(request), patience=patience)

    def call(self, method: str, path: str, body: object = None) -> httpx.Response:
        """Sends a request that may be repeated, with a JSON body if there is one."""
        return self._send(lambda: self._http.request(method, API_PREFIX + path, json=body))

    def call_once(self, method: str, path: str, body: object = None) -> httpx.Response:
        """Sends a request that must not be repeated: its response is shown only once."""
        try:
            response = self._http.request(method, API_PREFIX + path, json=body)
        except httpx.TransportError as error:
            raise self._unreachable(error) from error
        return self._checked(response, is_upload=False)

    def post_once(self, path: str, body: object, headers: Mapping[str, str]) -> httpx.Response:
        """Sends a POST request; all attempts have the same Idempotency-Key."""
        headers = {**headers, "Idempotency-Key": str(uuid.uuid4())}
        return self._send(lambda: self._http.post(API_PREFIX + path, json=body, headers=headers))

    def send(self, path: str, upload: UploadRequest, *, method: str = "POST") -> httpx.Response:
        """Uploads a file; all attempts have the same Idempotency-Key. Raises FileRefused too."""
        headers = {**upload.headers, "Idempotency-Key": str(uuid.uuid4())}
        timeout = httpx.Timeout(UPLOAD_SECONDS, connect=CONNECT_SECONDS)
        return self._send(
            lambda: self._http.request(
                method,
                API_PREFIX + path,
                content=upload.read_chunks(),
                headers=headers,
                params=upload.params,
                timeout=timeout,
            ),
            is_upload=True,
        )

    @contextmanager
    def stream(
        self,
        path: str,
        *,
        accept: str,
        params: Mapping[str, str] | None = None,
        patience: float = 0.0,
    ) -> Iterator[Iterator[bytes]]:
        """Streams a response in chunks."""
        request = self._http.build_request(
            "GET", API_PREFIX + path, headers={"Accept": accept}, params=params or {}
        )
        response = self._send(lambda: self._http.send(request, stream=True), patience=patience)
        try:
            yield response.iter_bytes()
        except httpx.TransportError as error:
            raise self._unreachable(error) from error
        finally:
            response.close()

    def is_ready(self) -> bool:
        """Returns whether /readyz responds 200."""
        try:
            return self._http.get("/readyz", timeout=CONNECT_SECONDS).is_success
        except httpx.TransportError:
            return False

    def _send(
        self,
        send: Callable[[], httpx.Response],
        *,
        patience: float = 0.0,
        is_upload: bool = False,
    ) -> httpx.Response:
        """Sends a request until it has a final response.

        Without patience a refused first connection is final, and so is the last of a few attempts.
        """
        started, attempt = self._clock(), 0
        while True:
            attempt += 1
            is_last = (
                self._clock() - started >= patience if patience else attempt >= MAX_REQUEST_ATTEMPTS
            )
            try:
                response = send()
            except httpx.TransportError as error:
                is_refused = isinstance(error, httpx.ConnectError | httpx.ConnectTimeout)
                if is_last or (is_refused and attempt == 1 and not patience):
                    raise self._unreachable(error) from error
                delay = min(2.0 ** min(attempt, 10) / 4, MAX_RETRY_PAUSE_SECONDS)
            else:
                if is_last or not _is_retryable(response):
                    return self._checked(response, is_upload=is_upload)
                response.close()
                delay = retry_delay(response, default=1.0)
            self._report_outage(patience)
            self._pause(delay)

    def _report_outage(self, patience: float) -> None:
        if patience and not self._is_away:
            self._is_away = True
            minutes = round(patience / 60)
            message = f"The service does not answer; waiting for it, up to {minutes} minutes."
            click.echo(message, err=True)

    def _checked(self, response: httpx.Response, *, is_upload: bool) -> httpx.Response:
        """Returns the response. Raises an error with its message if it is one."""
        if response.is_error:
            response.read()
            raise failure_of(response, is_upload=is_upload, key_hint=self._key_hint)
        if self._is_away:
            self._is_away = False
            click.echo("The service answers again.", err=True)
        return response

    def _unreachable(self, error: httpx.TransportError) -> Unreachable:
        return Unreachable(
            f"No answer from {self.url} ({str(error) or type(error).__name__}). "
            "Check that it runs (`enroll up`) and that --url is right."
        )


def _credentials(key: str | None) -> dict[str, str]:
    if not key:
        return {}
    if key.count(".") == _JWT_DOTS:
        return {"Authorization": f"Bearer {key}"}
    return {"X-Edx-Api-Key": key}


def retry_delay(response: httpx.Response, *, default: float) -> float:
    """Returns the seconds of Retry-After, limited to 0.1 to `MAX_RETRY_PAUSE_SECONDS`."""
    try:
        seconds = float(response.headers.get("Retry-After", default))
    except ValueError:
        return default
    return min(max(seconds, 0.1), MAX_RETRY_PAUSE_SECONDS)


def _is_retryable(response: httpx.Response) -> bool:
    if response.status_code in _RETRYABLE_STATUSES:
        return True
    return response.status_code == HTTPStatus.CONFLICT and "Retry-After" in response.headers
