"""Readers of values of settings. Each raises ValueError, whose message continues the name.

No message shows a value that can be a secret.
"""

import ipaddress
import re
from pathlib import Path
from typing import NamedTuple

from enrollment.runtime import failpoints

#: Shortest accepted fixed API key: as long as 128 random bits in hexadecimal digits.
MIN_API_KEY_LENGTH = 32
#: Longest accepted mode; the same as in requests.
MAX_MODE_LENGTH = 100
#: Shortest accepted secret of a client in ENROLL_OAUTH_CLIENTS.
MIN_CLIENT_SECRET_LENGTH = 16
#: Longest accepted client id and username, as in the database.
MAX_CLIENT_NAME_LENGTH = 255
#: Longest accepted name of a Redis stream; those of replies begin with it.
MAX_STREAM_NAME_LENGTH = 200
#: The largest number in a rate: the time of each request in a window is remembered.
MAX_RATE_AMOUNT = 100_000
_LOG_LEVELS = ("debug", "info", "warning", "error")
_FLAGS = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}
_RATE = re.compile(r"([0-9]{1,6})(?:/(s|sec|second|m|min|minute|h|hour|d|day))?")
_UNIT_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
_SWITCH = {"on": True, "off": False} | _FLAGS
#: A host name, an IPv4 address, or an IPv6 address in brackets.
_HOST_NAME = re.compile(r"[a-z0-9_.-]+|\[[0-9a-f:.]+\]")

#: The value of Origin in requests of browsers; names beyond ASCII are written in Punycode there.
_ORIGIN = re.compile(
    r"(?P<scheme>https?)://(?P<host>[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?|\[[0-9a-f:.]+\])"
    r"(?::(?P<port>[0-9]{1,5}))?"
)
_DEFAULT_PORTS = {"http": 80, "https": 443}


class Rate(NamedTuple):
    """At most `amount` requests within any `seconds`."""

    amount: int
    seconds: int


class OAuthClientSetting(NamedTuple):
    """An OAuth client of the settings."""

    client_id: str
    secret: str
    username: str
    is_staff: bool


def check_characters(text: str) -> None:
    """Checks that a value can be printed and has no blanks around it.

    Files and editors leave line ends behind, which would be a part of a secret without a sign.
    """
    if text != text.strip():
        message = "begins or ends with a blank or a line end: remove it"
        raise ValueError(message)
    if not text.isprintable():
        message = "contains a character that cannot be printed: remove it"
        raise ValueError(message)


def plain_text(text: str) -> str:
    """Reads any text."""
    return text


def stream_name(text: str) -> str:
    """Reads the name of a Redis stream, or the beginning of one."""
    if len(text) > MAX_STREAM_NAME_LENGTH:
        message = f"is too long: at most {MAX_STREAM_NAME_LENGTH} characters are possible"
        raise ValueError(message)
    return text


def path(text: str) -> Path:
    """Reads a path."""
    return Path(text)


def number(text: str, *, maximum: float = 10**9) -> float:
    """Reads a number from 0 to `maximum`."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= maximum:
        message = f"must be a number from 0 to {maximum:.0f}, not {text[:40]!r}"
        raise ValueError(message)
    return value


def positive_integer(text: str, *, maximum: int = 10**12) -> int:
    """Reads a whole number from 1 to `maximum`."""
    if not (text.isascii() and text.isdigit() and 0 < int(text[:20]) <= maximum):
        message = f"must be a whole number from 1 to {maximum}, not {text[:40]!r}"
        raise ValueError(message)
    return int(text)


def flag(text: str) -> bool:
    """Reads true or false."""
    if text.lower() not in _FLAGS:
        message = f"must be true or false, not {text[:40]!r}"
        raise ValueError(message)
    return _FLAGS[text.lower()]


def log_level(text: str) -> str:
    """Reads the name of a log level."""
    return _choice(text, _LOG_LEVELS)


def acceptance(text: str) -> bool:
    """Reads `accept` (True) or `refuse` (False)."""
    return _choice(text, ("accept", "refuse")) == "accept"


def _choice(text: str, known: tuple[str, ...]) -> str:
    if text.lower() not in known:
        message = f"must be one of {', '.join(known)}, not {text[:40]!r}"
        raise ValueError(message)
    return text.lower()


def mode(text: str) -> str:
    """Reads the slug of a mode."""
    if len(text) > MAX_MODE_LENGTH or any(character.isspace() for character in text):
        message = f"must be the slug of a mode, such as audit, not {text[:40]!r}"
        raise ValueError(message)
    return text


def host_names(text: str) -> frozenset[str]:
    """Reads host names separated by commas; returns them in lower case."""
    hosts = frozenset(host.strip().lower() for host in text.split(","))
    for host in sorted(hosts):
        if not _HOST_NAME.fullmatch(host):
            message = (
                "must be host names without port, such as enroll.example.org, separated by "
                f"commas, not {host[:100]!r}"
            )
            raise ValueError(message)
    return hosts


def origins(text: str) -> frozenset[str]:
    """Reads origins separated by commas; returns them as browsers send them.

    There is no `*` and no `null`: each page that may read answers is named.
    """
    return frozenset(_origin(origin.strip()) for origin in text.split(","))


def _origin(text: str) -> str:
    match = _ORIGIN.fullmatch(text.lower())
    if match is None or int(match["port"] or 1) not in range(1, 65_536):
        message = (
            "must be origins such as https://portal.example.org or http://localhost:3000, without "
            f"a path and separated by commas, not {text[:100]!r}"
        )
        raise ValueError(message)
    scheme, host, port = match["scheme"], match["host"], match["port"]
    is_default = port is None or int(port) == _DEFAULT_PORTS[scheme]
    return f"{scheme}://{host}" if is_default else f"{scheme}://{host}:{int(port)}"


def api_key(text: str) -> str:
    """Reads a fixed API key."""
    if len(text) < MIN_API_KEY_LENGTH:
        message = (
            f"is too short: {len(text)} characters, and at least {MIN_API_KEY_LENGTH} are needed. "
            "Use a random one: python3 -c 'import secrets; print(secrets.token_urlsafe(32))'"
        )
        raise ValueError(message)
    if not text.isascii():
        message = "must consist of ASCII characters, as it is sent in a header"
        raise ValueError(message)
    return text


def encryption_keys(text: str) -> tuple[str, ...]:
    """Reads keys separated by commas. No message has a key."""
    keys = tuple(key.strip() for key in text.split(","))
    for number, key in enumerate(keys, 1):
        if len(key) < MIN_API_KEY_LENGTH:
            message = (
                f"has a key, number {number}, that is too short: {len(key)} characters, and at "
                f"least {MIN_API_KEY_LENGTH} are needed. Use a random one: "
                "python3 -c 'import secrets; print(secrets.token_urlsafe(48))'"
            )
            raise ValueError(message)
    return keys


def switch(text: str) -> bool:
    """Reads on or off."""
    if text.lower() not in _SWITCH:
        message = f"must be on or off, not {text[:40]!r}"
        raise ValueError(message)
    return _SWITCH[text.lower()]


def rate(text: str) -> Rate | None:
    """Reads a rate such as `40/minute`, in which `/minute` may be missing; None for unlimited."""
    if text.lower() == "unlimited":
        return None
    match = _RATE.fullmatch(text.lower())
    if match is None or not 0 < int(match[1]) <= MAX_RATE_AMOUNT:
        message = (
            "must be a number of requests from 1 to 100000 in a second, minute, hour or day, such "
            f"as 40/minute, or unlimited, not {text[:40]!r}"
        )
        raise ValueError(message)
    return Rate(int(match[1]), _UNIT_SECONDS[(match[2] or "minute")[0]])


class ListenAddress(NamedTuple):
    """Where a process listens."""

    port: int
    #: Reached by processes of this machine only.
    host: str = "127.0.0.1"


def listen_address(text: str) -> ListenAddress:
    """Reads PORT or ADDRESS:PORT; an IPv6 address is in brackets."""
    host, _, port = text.rpartition(":")
    try:
        name = str(ipaddress.ip_address(host.strip("[]"))) if host else "127.0.0.1"
        return ListenAddress(positive_integer(port, maximum=65_535), name)
    except ValueError as error:
        message = f"must be a port, or address:port such as 0.0.0.0:9464, not {text[:100]!r}"
        raise ValueError(message) from error


def networks(text: str) -> tuple[str, ...]:
    """Reads addresses and networks separated by commas."""
    try:
        return tuple(str(ipaddress.ip_network(part.strip())) for part in text.split(","))
    except ValueError as error:
        message = (
            "must be addresses or networks separated by commas, such as 10.0.0.5, 10.1.0.0/16, "
            f"not {text[:100]!r}"
        )
        raise ValueError(message) from error


def oauth_clients(text: str) -> tuple[OAuthClientSetting, ...]:
    """Reads `id:secret:username[:staff]`, separated by commas. No message has a secret."""
    clients = tuple(
        _oauth_client(entry.strip(), number) for number, entry in enumerate(text.split(","), 1)
    )
    ids = [client.client_id for client in clients]
    for number, client_id in enumerate(ids, 1):
        if client_id in ids[: number - 1]:
            message = f"has the client of entry {number} twice"
            raise ValueError(message)
    return clients


def _oauth_client(entry: str, number: int) -> OAuthClientSetting:
    parts = entry.split(":")
    client_id, secret, username = [*parts, "", "", ""][:3]
    if len(parts) not in {3, 4} or not all(parts) or parts[3:] not in ([], ["staff"]):
        message = (
            "must be entries id:secret:username or id:secret:username:staff, separated by commas; "
            f"entry {number} is not one (no part may be empty, or have a colon or a comma)"
        )
        raise ValueError(message)
    if max(len(client_id), len(username)) > MAX_CLIENT_NAME_LENGTH:
        message = f"has a name that is too long (entry {number})"
        raise ValueError(message)
    if len(secret) < MIN_CLIENT_SECRET_LENGTH or not (secret + client_id).isascii():
        message = (
            f"has an entry, number {number}, whose secret is too short or, as its id, not ASCII: "
            f"at least {MIN_CLIENT_SECRET_LENGTH} characters are needed. Use a random one: "
            "python3 -c 'import secrets; print(secrets.token_urlsafe(32))'"
        )
        raise ValueError(message)
    return OAuthClientSetting(client_id, secret, username, bool(parts[3:]))


def fail_points(text: str) -> str:
    """Reads fail points; returns the text, which is parsed again where they are armed."""
    failpoints.parse(text)
    return text
