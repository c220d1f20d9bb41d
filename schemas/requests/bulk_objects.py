"""Reads lists of objects from one body: NDJSON, a bare array, or an object that names its list.

A list is taken as a whole or not at all, so all findings, up to a bound, are collected first.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Generic, TypeVar

from marshmallow import ValidationError

from schemas.encoding import i_json
from schemas.findings import (
    MAX_FINDINGS,
    RULES,
    Finding,
    at_line,
    at_pointer,
    finding,
    findings_of,
)

T = TypeVar("T")

JSON_MEDIA_TYPE = "application/json"
NDJSON_MEDIA_TYPE = "application/x-ndjson"


class TooManyObjects(ValueError):
    """The body has more objects than one request may have."""


class InvalidObjects(ValueError):
    """Some of the objects are invalid; ``found`` says which and why."""

    def __init__(self, found: Sequence[Finding]) -> None:
        super().__init__(describe_finding(found[0]))
        self.findings = found


class BulkReader(Generic[T]):
    """Reads lists of one kind of object, whose keys must differ."""

    def __init__(
        self,
        name: str,
        load: Callable[[object], T],
        *,
        key: Callable[[T], str],
        key_field: str,
        max_objects: int,
    ) -> None:
        #: The member that holds the list where the body is an object.
        self.name = name
        self.max_objects = max_objects
        self._load = load
        self._key = key
        self._key_field = key_field

    def read(self, body: bytes, media_type: str) -> list[T]:
        """Return the objects of a body. Raises InvalidObjects, TooManyObjects."""
        found: list[Finding] = []
        seen: set[str] = set()
        objects: list[T] = []
        for count, (where, data) in enumerate(self._parts(body, media_type, found)):
            if count >= self.max_objects:
                raise TooManyObjects
            found += [_located(bad, where) for bad in self._add(data, seen, objects)]
            if len(found) >= MAX_FINDINGS:
                break
        if found:
            raise InvalidObjects(found[:MAX_FINDINGS])
        return objects

    def _add(self, data: object, seen: set[str], objects: list[T]) -> tuple[Finding, ...]:
        """Add the object to ``objects``, or return what is wrong with it."""
        try:
            taken = self._load(data)
        except ValidationError as error:
            return findings_of(error, data)
        key = self._key(taken)
        if key in seen:
            return (at_pointer(finding(self._key_field, key, "duplicate")),)
        seen.add(key)
        objects.append(taken)
        return ()

    def _parts(
        self, body: bytes, media_type: str, found: list[Finding]
    ) -> Iterator[tuple[str | int, object]]:
        """Yield the location (line number or JSON pointer) and the data of each object."""
        if media_type == NDJSON_MEDIA_TYPE:
            yield from _lines(body, found)
            return
        try:
            document = i_json.loads(body)
        except i_json.InvalidJson as error:
            found.append(_invalid_json(error, error.line))
            return
        prefix = ""
        if isinstance(document, dict) and list(document) == [self.name]:
            prefix, document = f"/{self.name}", document[self.name]
        if not isinstance(document, list):
            found.append(at_pointer(finding(self.name, document, "type")))
            return
        for place, data in enumerate(document):
            yield f"{prefix}/{place}", data


def describe_finding(found: Finding) -> str:
    """Return a finding as a sentence."""
    where = f"line {found['line']}: " if "line" in found else ""
    rule = str(found["rule"])
    return f"{where}{found['field'] or 'the body'} {RULES.get(rule, rule)}"


def _lines(body: bytes, found: list[Finding]) -> Iterator[tuple[int, object]]:
    for number, line in enumerate(body.split(b"\n"), start=1):
        if not line.strip():
            continue
        try:
            data = i_json.loads(line)
        except i_json.InvalidJson as error:
            found.append(_invalid_json(error, number))
            if len(found) >= MAX_FINDINGS:
                return
            continue
        yield number, data


def _invalid_json(error: i_json.InvalidJson, line: int) -> Finding:
    return {"line": line, "column": error.column, **finding("", None, "json", str(error))}


def _located(bad: Finding, where: str | int) -> Finding:
    if isinstance(where, int):
        return at_line(bad, where)
    return {**bad, "pointer": f"{where}{bad['pointer']}"}
