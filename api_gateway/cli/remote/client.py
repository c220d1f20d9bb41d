"""HTTP client of a running service, and the options that commands need for it."""

import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import wraps
from http import HTTPStatus
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import click
import httpx

from api_gateway.cli.context import ADMIN_KEY_FILE, data_dir_option
from api_gateway.cli.exit_codes import Refused, Unreachable

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
#: Maximum number of validation errors that are printed.
MAX_FINDINGS_SHOWN = 20
_RETRYABLE_STATUSES = frozenset({HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE})


class UploadRequest(NamedTuple):
    """The upload of a file, which is read again for each attempt."""

    path: Path
    headers: Mapping[str, str]
    params: Mapping[str, str]
    #: Called with the size of each chunk that was read.
    on_chunk: Callable[[int], None]

    def read_chunks(self) -> Iterator[bytes]:
        """Yields the contents of the file."""
        with self.path.open("rb") as file:
            while chunk := file.read(1 << 18):
                self.on_chunk(len(chunk))
                yield chunk


class Service:
    """Client of the service at a URL. Its methods raise Unreachable and Refused."""

    def __init__(
        self,
        url: str,
        key: str | None,
        *,
        transport: httpx.BaseTransport | None = None,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self.url = url.rstrip("/")
        self._pause = pause
        self._http = httpx.Client(
            base_url=self.url,
            headers={"Authorization": f"Bearer {key}"} if key else {},
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
        self, path: str, *, headers: Mapping[str, str] | None = None, **params: str
    ) -> httpx.Response:
        """Sends a GET request; 304 is not an error."""
        return self._request_with_retries(
            lambda: self._http.get(API_PREFIX + path, headers=headers or {}, params=params)
        )

    def post(self, path: str) -> httpx.Response:
        """Sends a POST request that may be repeated."""
        return self._request_with_retries(lambda: self._http.post(API_PREFIX + path))

    def send(self, path: str, upload: UploadRequest) -> httpx.Response:
        """Uploads a file; all attempts have the same Idempotency-Key."""
        headers = {**upload.headers, "Idempotency-Key": str(uuid.uuid4())}
        timeout = httpx.Timeout(UPLOAD_SECONDS, connect=CONNECT_SECONDS)
        return self._request_with_retries(
            lambda: self._http.post(
                API_PREFIX + path,
                content=upload.read_chunks(),
                headers=headers,
                params=upload.params,
                timeout=timeout,
            )
        )

    @contextmanager
    def stream(self, path: str, *, accept: str, **params: str) -> Iterator[Iterator[bytes]]:
        """Streams a response in chunks."""
        try:
            with self._http.stream(
                "GET", API_PREFIX + path, headers={"Accept": accept}, params=params
            ) as response:
                if response.is_error:
                    response.read()
                    raise _failure(response)
                yield response.iter_bytes()
        except httpx.TransportError as error:
            raise self._unreachable(error) from error

    def is_ready(self) -> bool:
        """Returns whether /readyz responds 200."""
        try:
            return self._http.get("/readyz", timeout=CONNECT_SECONDS).is_success
        except httpx.TransportError:
            return False

    def _request_with_retries(self, send: Callable[[], httpx.Response]) -> httpx.Response:
        """Sends a request until it has a final response; a refused first connection is final."""
        for attempt in range(MAX_REQUEST_ATTEMPTS):
            try:
                response = send()
            except httpx.TransportError as error:
                is_refused = isinstance(error, httpx.ConnectError | httpx.ConnectTimeout)
                if (is_refused and not attempt) or attempt == MAX_REQUEST_ATTEMPTS - 1:
                    raise self._unreachable(error) from error
                self._pause(min(2.0**attempt / 2, MAX_RETRY_PAUSE_SECONDS))
                continue
            if not _is_retryable(response) or attempt == MAX_REQUEST_ATTEMPTS - 1:
                break
            self._pause(retry_delay(response, default=1.0))
        if response.is_error:
            raise _failure(response)
        return response

    def _unreachable(self, error: httpx.TransportError) -> Unreachable:
        return Unreachable(
            f"No answer from {self.url} ({str(error) or type(error).__name__}). "
            "Check that it runs (`enroll up`) and that --url is right."
        )


def terminal_safe(value: object) -> str:
    """Returns a value as text without control characters of terminals."""
    return "".join(character if character.isprintable() else "\ufffd" for character in str(value))


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


def _failure(response: httpx.Response) -> click.ClickException:
    kind = Unreachable if response.is_server_error else Refused
    return kind("\n".join(_error_message(response)))


def _error_message(response: httpx.Response) -> Iterator[str]:
    try:
        body: Any = response.json()
    except ValueError:
        body = None
    problem = body if isinstance(body, dict) else {}
    yield terminal_safe(problem.get("detail") or problem.get("message") or response.reason_phrase)
    errors = problem.get("errors") or []
    for finding in errors[:MAX_FINDINGS_SHOWN]:
        line = f"line {finding['line']}" if "line" in finding else ""
        location = finding.get("pointer") or line
        parts = [location, finding.get("field"), finding.get("value"), finding.get("rule")]
        text = ": ".join(terminal_safe(part) for part in parts if part not in {None, ""})
        yield f"  {text}{_expected(finding.get('expected'))}"
    if len(errors) > MAX_FINDINGS_SHOWN:
        yield f"  … and {len(errors) - MAX_FINDINGS_SHOWN} more"
    if response.status_code == HTTPStatus.UNAUTHORIZED:
        yield "Set an API key with --key or ENROLL_API_KEY (`enroll keys create` creates one)."


def _expected(expected: object) -> str:
    """Returns what a finding expects, a text or a list of texts, for display."""
    if not expected:
        return ""
    texts = expected if isinstance(expected, list) else [expected]
    return f" (expected: {', '.join(map(terminal_safe, texts))})"


def _parse_base_url(_ctx: click.Context, _param: click.Parameter, url: str) -> str:
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise click.BadParameter(str(error)) from error
    if parsed.scheme not in {"http", "https"} or not parsed.host:
        message = f"{url} is not a URL such as http://127.0.0.1:8000"
        raise click.BadParameter(message)
    return url


def with_service(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the options --url, --key and --data-dir, and passes a client as `service`."""

    @click.option(
        "--url",
        envvar="ENROLL_URL",
        callback=_parse_base_url,
        default="http://127.0.0.1:8000",
        show_default=True,
        help="URL of the service.",
    )
    @click.option("--key", envvar="ENROLL_API_KEY", help="API key  [default: DATA_DIR/admin.key]")
    @data_dir_option
    @wraps(command)
    def run_with_service(*args: Any, url: str, key: str | None, data_dir: Path, **rest: Any) -> Any:
        file = data_dir / ADMIN_KEY_FILE
        if key is None and file.is_file():
            key = file.read_text().strip()
        with Service(url, key) as service:
            return command(*args, service=service, **rest)

    return run_with_service
