"""The client of a running service, as the commands use it."""

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

from api_gateway.cli.context import ADMIN_KEY, data_dir_option
from api_gateway.cli.exit_codes import Refused, Unreachable

API = "/api/enrollment/v1"
#: Seconds: to connect, between two pieces of an answer, and until a whole file is answered.
CONNECT_SECONDS = 5.0
READ_SECONDS = 75.0
UPLOAD_SECONDS = 600.0
#: How often a request is made again that got no answer, or was told to come back.
TRIES = 5
LONGEST_PAUSE = 5.0
#: Findings of one refusal that are printed.
FINDINGS = 20
_LATER = frozenset({HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE})


class UploadRequest(NamedTuple):
    """A file on its way; read anew for every try."""

    path: Path
    headers: Mapping[str, str]
    params: Mapping[str, str]
    #: Told of every piece that was read.
    sent: Callable[[int], None]

    def pieces(self) -> Iterator[bytes]:
        """The file's bytes."""
        with self.path.open("rb") as file:
            while piece := file.read(1 << 18):
                self.sent(len(piece))
                yield piece


class Service:
    """A service at a URL. Raises Unreachable and Refused, which say what went wrong."""

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
        """Connections are kept inside the block."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Every connection is closed."""
        self._http.close()

    def get(
        self, path: str, *, headers: Mapping[str, str] | None = None, **params: str
    ) -> httpx.Response:
        """Reads something; 304 is an answer like any other."""
        return self._answered(
            lambda: self._http.get(API + path, headers=headers or {}, params=params)
        )

    def post(self, path: str) -> httpx.Response:
        """Ask for something that may be asked twice."""
        return self._answered(lambda: self._http.post(API + path))

    def send(self, path: str, upload: UploadRequest) -> httpx.Response:
        """Hand a file in, under one key however often it has to be sent."""
        headers = {**upload.headers, "Idempotency-Key": str(uuid.uuid4())}
        timeout = httpx.Timeout(UPLOAD_SECONDS, connect=CONNECT_SECONDS)
        return self._answered(
            lambda: self._http.post(
                API + path,
                content=upload.pieces(),
                headers=headers,
                params=upload.params,
                timeout=timeout,
            )
        )

    @contextmanager
    def stream(self, path: str, *, accept: str, **params: str) -> Iterator[Iterator[bytes]]:
        """Reads an answer of any length, piece by piece."""
        try:
            with self._http.stream(
                "GET", API + path, headers={"Accept": accept}, params=params
            ) as response:
                if response.is_error:
                    response.read()
                    raise _failure(response)
                yield response.iter_bytes()
        except httpx.TransportError as error:
            raise self._unreachable(error) from error

    def is_ready(self) -> bool:
        """Whether the service says that it can be used."""
        try:
            return self._http.get("/readyz", timeout=CONNECT_SECONDS).is_success
        except httpx.TransportError:
            return False

    def _answered(self, ask: Callable[[], httpx.Response]) -> httpx.Response:
        for waited in range(TRIES):
            try:
                response = ask()
            except httpx.TransportError as error:
                if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout) and not waited:
                    raise self._unreachable(error) from error
                if waited == TRIES - 1:
                    raise self._unreachable(error) from error
                self._pause(min(2.0**waited / 2, LONGEST_PAUSE))
                continue
            if not _is_retryable(response) or waited == TRIES - 1:
                break
            self._pause(retry_after(response, default=1.0))
        if response.is_error:
            raise _failure(response)
        return response

    def _unreachable(self, error: httpx.TransportError) -> Unreachable:
        return Unreachable(
            f"No answer from {self.url} ({str(error) or type(error).__name__}). "
            "Is it running (`enroll up`), and is --url right?"
        )


def plain(value: object) -> str:
    """A value as text that cannot give the terminal orders."""
    return "".join(sign if sign.isprintable() else "\ufffd" for sign in str(value))


def retry_after(response: httpx.Response, *, default: float) -> float:
    """Seconds that the service asks to wait, within reason."""
    try:
        return min(max(float(response.headers.get("Retry-After", default)), 0.1), LONGEST_PAUSE)
    except ValueError:
        return default


def _is_retryable(response: httpx.Response) -> bool:
    if response.status_code in _LATER:
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
    yield plain(problem.get("detail") or problem.get("message") or response.reason_phrase)
    errors = problem.get("errors") or []
    for finding in errors[:FINDINGS]:
        where = finding.get("pointer") or (f"line {finding['line']}" if "line" in finding else "")
        what = [where, finding.get("field"), finding.get("value"), finding.get("rule")]
        yield "  " + ": ".join(plain(word) for word in what if word not in {None, ""})
    if len(errors) > FINDINGS:
        yield f"  … and {len(errors) - FINDINGS} more"
    if response.status_code == HTTPStatus.UNAUTHORIZED:
        yield "Give a key with --key or ENROLL_API_KEY (`enroll keys create` makes one)."


def _web_address(_ctx: click.Context, _param: click.Parameter, given: str) -> str:
    try:
        address = httpx.URL(given)
    except httpx.InvalidURL as error:
        raise click.BadParameter(str(error)) from error
    if address.scheme not in {"http", "https"} or not address.host:
        message = f"{given} is no address such as http://127.0.0.1:8000"
        raise click.BadParameter(message)
    return given


def client_of_service(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options that find a running service, and a `service` to use."""

    @click.option(
        "--url",
        envvar="ENROLL_URL",
        callback=_web_address,
        default="http://127.0.0.1:8000",
        show_default=True,
        help="Where the service is.",
    )
    @click.option("--key", envvar="ENROLL_API_KEY", help="API key  [default: DATA_DIR/admin.key]")
    @data_dir_option
    @wraps(command)
    def with_service(*args: Any, url: str, key: str | None, data_dir: Path, **rest: Any) -> Any:
        file = data_dir / ADMIN_KEY
        if key is None and file.is_file():
            key = file.read_text().strip()
        with Service(url, key) as service:
            return command(*args, service=service, **rest)

    return with_service
