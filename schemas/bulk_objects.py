"""Many objects in one body: NDJSON, a bare array, or an object that names its list.

They are taken all or none, so every bad one is found, up to a bound, before any is taken.
"""

from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from marshmallow import ValidationError

from schemas import i_json
from schemas.fields import MAX_FINDINGS, RULES, finding, findings

T = TypeVar("T")

JSON = "application/json"
NDJSON = "application/x-ndjson"


class TooMany(ValueError):
    """The body holds more objects than are taken at once."""


class BadObjects(ValueError):
    """Some of the objects cannot be taken; ``found`` says which and why."""

    def __init__(self, found: list[dict[str, object]]) -> None:
        super().__init__(sentence(found[0]))
        self.found = found


class Many(Generic[T]):
    """Reads lists of one kind of object."""

    def __init__(
        self,
        name: str,
        load: Callable[[object], T],
        *,
        key: Callable[[T], str],
        key_field: str,
        most: int,
    ) -> None:
        #: The member that holds the list where the body is an object.
        self.name = name
        self.most = most
        self._load = load
        self._key = key
        self._key_field = key_field

    def read(self, body: bytes, media_type: str) -> list[T]:
        """The objects of a body. Raises BadObjects, TooMany."""
        found: list[dict[str, object]] = []
        seen: set[str] = set()
        objects: list[T] = []
        for count, (where, data) in enumerate(self._parts(body, media_type, found)):
            if count >= self.most:
                raise TooMany
            found += [_placed(bad, where) for bad in self._take(data, seen, objects)]
            if len(found) >= MAX_FINDINGS:
                break
        if found:
            raise BadObjects(found[:MAX_FINDINGS])
        return objects

    def _take(
        self, data: object, seen: set[str], objects: list[T]
    ) -> tuple[dict[str, object], ...]:
        try:
            taken = self._load(data)
        except ValidationError as error:
            return findings(error, data)
        key = self._key(taken)
        if key in seen:
            return (finding([self._key_field], key, "duplicate"),)
        seen.add(key)
        objects.append(taken)
        return ()

    def _parts(
        self, body: bytes, media_type: str, found: list[dict[str, object]]
    ) -> Iterator[tuple[str | int, object]]:
        """Each object and where it stands: a line's number or a pointer."""
        if media_type == NDJSON:
            yield from _lines(body, found)
            return
        try:
            document = i_json.loads(body)
        except i_json.NotHonestJson as error:
            found.append(_unreadable(error))
            return
        prefix = ""
        if isinstance(document, dict) and list(document) == [self.name]:
            prefix, document = f"/{self.name}", document[self.name]
        if not isinstance(document, list):
            found.append(finding([self.name], document, "type"))
            return
        for place, data in enumerate(document):
            yield f"{prefix}/{place}", data


def sentence(found: dict[str, object]) -> str:
    """A finding in words."""
    where = f"line {found['line']}: " if "line" in found else ""
    rule = str(found["rule"])
    return f"{where}{found['field'] or 'the body'} {RULES.get(rule, rule)}"


def _lines(body: bytes, found: list[dict[str, object]]) -> Iterator[tuple[int, object]]:
    for number, line in enumerate(body.split(b"\n"), start=1):
        if not line.strip():
            continue
        try:
            data = i_json.loads(line)
        except i_json.NotHonestJson as error:
            found.append({**_unreadable(error), "line": number})
            if len(found) >= MAX_FINDINGS:
                return
            continue
        yield number, data


def _unreadable(error: i_json.NotHonestJson) -> dict[str, object]:
    bad = {"line": error.line, "column": error.column, "field": "", "value": str(error)}
    return {**bad, "rule": "json"}


def _placed(bad: dict[str, object], where: str | int) -> dict[str, object]:
    if isinstance(where, int):
        return {"line": where, **{name: bad[name] for name in ("field", "value", "rule")}}
    return {**bad, "pointer": f"{where}{bad['pointer']}"}
