"""Readers of values of settings. Each raises ValueError, whose message continues the name.

No message shows a value that can be a secret.
"""

import re
from pathlib import Path

from enrollment.runtime import failpoints

#: Shortest accepted fixed API key: as long as 128 random bits in hexadecimal digits.
MIN_API_KEY_LENGTH = 32
#: Longest accepted mode; the same as in requests.
MAX_MODE_LENGTH = 100
_LOG_LEVELS = ("debug", "info", "warning", "error")
_FLAGS = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}
#: A host name, an IPv4 address, or an IPv6 address in brackets.
_HOST_NAME = re.compile(r"[a-z0-9_.-]+|\[[0-9a-f:.]+\]")


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


def fail_points(text: str) -> str:
    """Reads fail points; returns the text, which is parsed again where they are armed."""
    failpoints.parse(text)
    return text
