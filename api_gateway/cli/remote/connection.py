"""Options of commands that call a running service: its URL and the API key."""

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, NamedTuple

import click
import httpx

from api_gateway.cli.context import ADMIN_KEY_FILE, admin_key_option
from api_gateway.cli.exit_codes import Denied
from api_gateway.cli.output import json_option
from api_gateway.cli.remote.client import API_PREFIX, Service
from enrollment.runtime.settings import check_variables


class FoundKey(NamedTuple):
    """An API key (None: there is none), and a sentence that says where it came from."""

    key: str | None
    hint: str


def parse_base_url(_ctx: click.Context, _param: click.Parameter, url: str) -> str:
    """Returns the root of the service; the path of the API may follow it. Raises BadParameter."""
    try:
        parsed = httpx.URL(url.strip())
    except httpx.InvalidURL as error:
        raise click.BadParameter(str(error)) from error
    if parsed.scheme not in {"http", "https"} or not parsed.host:
        message = f"{url} is not a URL such as http://127.0.0.1:8000"
        raise click.BadParameter(message)
    return url.strip().rstrip("/").removesuffix(API_PREFIX)


def find_key(given: str | None, data_dir: Path) -> FoundKey:
    """Returns the given key, else the one in the data folder. Raises BadParameter, Denied."""
    if given and given.strip():
        return _checked(given, "The key is that of --key or ENROLL_API_KEY.")
    file = (data_dir / ADMIN_KEY_FILE).absolute()
    if not file.is_file():
        missing = f"Neither --key nor ENROLL_API_KEY is given, and {file} does not exist."
        advice = "On the machine of `enroll up`, name its folder with --data-dir."
        return FoundKey(None, f"{missing} {advice}")
    try:
        text = file.read_text()
    except OSError as error:
        message = f"{file} cannot be read ({error.strerror}): give a key with --key."
        raise click.BadParameter(message, param_hint="--data-dir") from error
    return _checked(text, f"The key is that in {file}.")


def _checked(text: str, hint: str) -> FoundKey:
    """Returns a key without blanks around it. Raises Denied, which does not show it."""
    key = text.strip()
    if not (key.isascii() and key.isprintable() and " " not in key):
        message = f"The API key has a blank within, or a character that no key has.\n{hint}"
        raise Denied(message)
    return FoundKey(key, hint)


def with_service(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds --url, --key, --data-dir and --json, and passes a client as `service`."""

    @click.option(
        "--url",
        envvar="ENROLL_URL",
        show_envvar=True,
        callback=parse_base_url,
        default="http://127.0.0.1:8000",
        show_default=True,
        help="URL of the service.",
    )
    @click.option(
        "--key",
        envvar="ENROLL_API_KEY",
        show_envvar=True,
        help="API key or JWT  [default: DATA_DIR/admin.key]",
    )
    @admin_key_option
    @json_option
    @wraps(command)
    def run_with_service(*args: Any, url: str, key: str | None, data_dir: Path, **rest: Any) -> Any:
        check_variables()
        found = find_key(key, data_dir)
        with Service(url, found.key, key_hint=found.hint) as service:
            return command(*args, service=service, **rest)

    return run_with_service
