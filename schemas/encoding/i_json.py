"""Parses I-JSON (RFC 7493): texts that parsers may read differently are errors.

orjson parses texts that are certainly valid; any other is parsed again, slowly, by a scanner that
finds the place of the error.
"""

import json
import re
from typing import Any

import orjson

#: Nested arrays and objects.
MAX_DEPTH = 20
#: Integers that every part of the service can store.
MIN_INT, MAX_INT = -(1 << 63), (1 << 63) - 1
_MAX_DIGITS = 19

_BOM = b"\xef\xbb\xbf"
#: Escapes of characters that are searched for in the raw text: NUL, a colon, surrogates.
_ESCAPES = re.compile(rb"\\u(?:00(?:00|3[aA])|[dD][89a-fA-F])")
_TOKEN = re.compile(
    r'"(?P<text>[^"\\]*+(?:\\.[^"\\]*+)*+)"?(?P<key>[ \t\r\n]*+:)?'
    r"|(?P<opens>[\[{])|(?P<closes>[\]}])"
    r"|(?P<number>-?[0-9][0-9.eE+-]*+)|(?P<constant>NaN|-?Infinity)",
    re.DOTALL,
)
_SURROGATE = re.compile("[\ud800-\udfff]")
#: Larger than any number of colons.
_UNCERTAIN = -(1 << 62)


class InvalidJson(ValueError):
    """The text is not JSON, or is JSON that two parsers may read differently."""

    def __init__(self, message: str, line: int, column: int, offset: int) -> None:
        super().__init__(f"{message}: line {line} column {column} (char {offset})")
        #: The error, without the place.
        self.message = message
        self.line = line
        self.column = column
        #: Characters before it, without a byte order mark.
        self.offset = offset


def loads(data: bytes | str) -> Any:
    """Parses one JSON text. Raises InvalidJson and nothing else."""
    raw = _encoded(data) if isinstance(data, str) else data
    raw = raw.removeprefix(_BOM)
    if b"\\u" not in raw or _ESCAPES.search(raw) is None:
        try:
            value = orjson.loads(raw)
        except ValueError:
            return _parse_slowly(raw)
        # orjson keeps the last of two equal keys: the value then has fewer colons than the text.
        colons = orjson.dumps(value).count(b":") if _is_plain(value) else _count_colons(value, 0)
        if colons == raw.count(b":"):
            return value
    return _parse_slowly(raw)


def _encoded(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise _fault("Lone surrogate", text, error.start) from error


def _is_plain(value: Any) -> bool:
    """Returns whether this is certainly an object of texts, truth values and objects of texts."""
    if type(value) is not dict:
        return False
    for item in value.values():
        kind = type(item)
        if kind is dict:
            for text in item.values():
                if type(text) is not str:
                    return False
        elif kind is not str and kind is not bool:
            return False
    return True


def _count_colons(value: Any, depth: int) -> int:
    """Counts the colons in the text of a value; negative where that is uncertain."""
    kind = type(value)
    if kind is str:
        return int(value.count(":"))
    if value is None or kind is bool:
        return 0
    if kind is int:
        return 0 if MIN_INT <= value <= MAX_INT else _UNCERTAIN
    if kind is float or depth == MAX_DEPTH:
        return _UNCERTAIN
    depth += 1
    if kind is list:
        return sum([_count_colons(item, depth) for item in value])
    total = len(value)
    for key, item in value.items():
        total += key.count(":")
        total += item.count(":") if type(item) is str else _count_colons(item, depth)
    return total


def _parse_slowly(raw: bytes) -> Any:
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        before = raw[: error.start].decode()
        raise _fault("Not UTF-8", before, len(before)) from error
    if not text.strip(" \t\r\n"):
        raise _fault("Empty, but one JSON value was expected", text, 0)
    _Scanner(text).scan()
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise _fault(error.msg, text, error.pos) from error


def _fault(message: str, text: str, offset: int) -> InvalidJson:
    line = text.count("\n", 0, offset) + 1
    return InvalidJson(message, line, offset - text.rfind("\n", 0, offset), offset)


class _Scanner:
    """Checks every token; the grammar is checked by the parser that runs afterwards."""

    def __init__(self, text: str) -> None:
        self._text = text
        #: The keys of each open object; None for an open array.
        self._open: list[set[str] | None] = []

    def scan(self) -> None:
        """Raises InvalidJson at the first token that I-JSON does not allow."""
        checks = {
            "text": self._text_token,
            "key": self._text_token,
            "opens": self._opening,
            "closes": self._closing,
            "number": self._number,
            "constant": self._constant,
        }
        for token in _TOKEN.finditer(self._text):
            checks[str(token.lastgroup)](token)

    def _text_token(self, token: re.Match[str]) -> None:
        text = token["text"]
        if "\\" in text:
            text = _unescaped(text)
        if "\0" in text:
            raise _fault("NUL in a string", self._text, token.start())
        if _SURROGATE.search(text):
            raise _fault("Lone surrogate in a string", self._text, token.start())
        keys = self._open[-1] if self._open else None
        if token["key"] is None or keys is None:
            return
        if text in keys:
            raise _fault(f"Duplicate key {text[:100]!r}", self._text, token.start())
        keys.add(text)

    def _opening(self, token: re.Match[str]) -> None:
        if len(self._open) == MAX_DEPTH:
            raise _fault(f"Nested deeper than {MAX_DEPTH}", self._text, token.start())
        self._open.append(set() if token["opens"] == "{" else None)

    def _closing(self, _token: re.Match[str]) -> None:
        if self._open:
            self._open.pop()

    def _number(self, token: re.Match[str]) -> None:
        digits = token["number"]
        if not digits.lstrip("-").isdigit():
            if _is_infinite(digits):
                raise _fault("Number out of range", self._text, token.start())
        elif len(digits.lstrip("-")) > _MAX_DIGITS or not MIN_INT <= int(digits) <= MAX_INT:
            raise _fault("Integer beyond 64 bits", self._text, token.start())

    def _constant(self, token: re.Match[str]) -> None:
        raise _fault(f"{token['constant']} is not a JSON value", self._text, token.start())


def _unescaped(text: str) -> str:
    try:
        return str(json.loads(f'"{text}"', strict=False))
    except json.JSONDecodeError:
        return text  # the parser reports the invalid escape


def _is_infinite(digits: str) -> bool:
    try:
        return float(digits) in {float("inf"), float("-inf")}
    except ValueError:
        return False  # the parser reports the invalid number
