"""Reads objects from one body: NDJSON, an array, an object with the array, or one object.

The object with the array may be a page that this service responded with: its `next` is ignored.
A list is taken as a whole or not at all, so all findings, up to a bound, are collected first.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Generic, TypeVar

from marshmallow import ValidationError

from schemas.encoding import i_json
from schemas.findings import (
    MAX_FINDINGS,
    Finding,
    Rule,
    at_line,
    at_pointer,
    finding,
    findings_of,
)
from schemas.messages.finding_messages import describe_finding

T = TypeVar("T")

JSON_MEDIA_TYPE = "application/json"
NDJSON_MEDIA_TYPE = "application/x-ndjson"


class TooManyObjects(ValueError):
    """The body has more objects than one request may have."""


class InvalidObjects(ValueError):
    """Some of the objects are invalid; `findings` lists the errors."""

    def __init__(self, findings: Sequence[Finding]) -> None:
        super().__init__(describe_finding(findings[0]))
        self.findings = findings


class BulkReader(Generic[T]):
    """Reads lists of objects of one kind, with unique keys."""

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
        """Returns the objects of a body. Raises InvalidObjects, TooManyObjects."""
        findings: list[Finding] = []
        seen: set[str] = set()
        objects: list[T] = []
        for count, (where, data) in enumerate(self._parts(body, media_type, findings)):
            if count >= self.max_objects:
                raise TooManyObjects
            findings += [_located(item, where) for item in self._add(data, seen, objects)]
            if len(findings) >= MAX_FINDINGS:
                break
        if findings:
            raise InvalidObjects(findings[:MAX_FINDINGS])
        return objects

    def _add(self, data: object, seen: set[str], objects: list[T]) -> tuple[Finding, ...]:
        """Adds the object to `objects`, or returns the findings on it."""
        try:
            parsed = self._load(data)
        except ValidationError as error:
            return findings_of(error, data)
        key = self._key(parsed)
        if key in seen:
            return (at_pointer(finding(self._key_field, key, "duplicate")),)
        seen.add(key)
        objects.append(parsed)
        return ()

    def _parts(
        self, body: bytes, media_type: str, findings: list[Finding]
    ) -> Iterator[tuple[str | int, object]]:
        """Yields the location (line number or JSON pointer) and the data of each object."""
        if media_type == NDJSON_MEDIA_TYPE:
            yield from _lines(body, findings)
            return
        try:
            document = i_json.loads(body)
        except i_json.InvalidJson as error:
            findings.append(_invalid_json(error, error.line))
            return
        prefix = ""
        if isinstance(document, dict):
            if self._key_field in document:
                yield prefix, document
                return
            if self.name in document and document.keys() <= {self.name, "next"}:
                prefix, document = f"/{self.name}", document[self.name]
        if not isinstance(document, list):
            expected = (
                f"expected a JSON list of {self.name}, an object with the list in {self.name}, or "
                f"one object with {self._key_field}"
            )
            findings.append(at_pointer(finding(self.name, document, Rule.TYPE, expected)))
            return
        self._check_number(document)
        for index, data in enumerate(document):
            yield f"{prefix}/{index}", data

    def _check_number(self, document: Sequence[object]) -> None:
        """Raises TooManyObjects before any of the objects is read."""
        if len(document) > self.max_objects:
            raise TooManyObjects


def _lines(body: bytes, findings: list[Finding]) -> Iterator[tuple[int, object]]:
    for number, line in enumerate(body.split(b"\n"), start=1):
        if not line.strip():
            continue
        try:
            data = i_json.loads(line)
        except i_json.InvalidJson as error:
            findings.append(_invalid_json(error, number))
            if len(findings) >= MAX_FINDINGS:
                return
            continue
        yield number, data


def _invalid_json(error: i_json.InvalidJson, line: int) -> Finding:
    return {"line": line, "column": error.column, **finding("", None, "json", str(error))}


def _located(item: Finding, where: str | int) -> Finding:
    if isinstance(where, int):
        return at_line(item, where)
    return {**item, "pointer": f"{where}{item['pointer']}"}
