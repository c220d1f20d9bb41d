"""Crosswalks as callers see them: entries of ``kind``, ``theirs`` and ``ours``, in JSON or CSV."""

import csv
import io
from collections.abc import Iterable, Iterator, Mapping
from typing import TypedDict

from marshmallow import ValidationError, fields, validate

from enrollment.domain.codes import IdKind
from enrollment.domain.crosswalks import MAX_EXTERNAL_ID, CrosswalkEntry
from schemas.fields import (
    ERROR_CODES,
    MAX_NAME,
    BoundedString,
    StrictSchema,
    is_course_key,
    parse_username,
)
from schemas.files.csv_rows import DELIMITERS, names_of, unescape_cell
from schemas.files.csv_splitter import MAX_RECORD
from schemas.findings import MAX_FINDINGS, Finding, at_line, finding, findings_of
from schemas.requests.bulk_objects import BulkReader, InvalidObjects, TooManyObjects
from schemas.result_file import safe_cell

#: Most entries in one request, and most unmapped ids in one response.
MOST = 50_000
COLUMNS = ("kind", "theirs", "ours")
_KINDS = {kind.value: kind for kind in IdKind}


class EntrySchema(StrictSchema):
    """Maps one id of another system to ours."""

    kind = fields.String(
        required=True,
        validate=validate.OneOf([*IdKind], error="one_of"),
        error_messages=ERROR_CODES,
    )
    theirs = BoundedString(longest=MAX_EXTERNAL_ID, shortest=1, required=True)
    ours = BoundedString(longest=MAX_NAME, shortest=1, required=True)


_ENTRY = EntrySchema()


class EntryJson(TypedDict):
    """One entry of a crosswalk."""

    kind: IdKind
    theirs: str
    ours: str


class CrosswalkJson(TypedDict):
    """Entries of a crosswalk, ordered by kind and external id."""

    source: str
    entries: list[EntryJson]
    next: str | None


def load_entry(data: object) -> CrosswalkEntry:
    """Parse an entry. Raises marshmallow's ValidationError."""
    members: Mapping[str, str] = _ENTRY.load(data)  # type: ignore[arg-type]
    kind, ours = _KINDS[members["kind"]], members["ours"]
    if kind is IdKind.COURSE and not is_course_key(ours):
        raise ValidationError({"ours": ["course_key"]})
    if kind is IdKind.LEARNER and parse_username(ours) is None:
        raise ValidationError({"ours": ["pattern"]})
    return CrosswalkEntry(kind, members["theirs"], ours)


def dump_entry(entry: CrosswalkEntry) -> EntryJson:
    """The entry as JSON has it."""
    return {"kind": entry.kind, "theirs": entry.external_id, "ours": entry.local_id}


def _key(entry: CrosswalkEntry) -> str:
    return f"{entry.kind.value} {entry.external_id}"


ENTRIES = BulkReader("entries", load_entry, key=_key, key_field="theirs", most=MOST)


def read_csv(body: bytes, *, whole: bool = False) -> list[CrosswalkEntry]:
    """Return the entries of a CSV file. Rows without ``ours`` are still to be filled in: skipped.

    With ``whole`` the file is to replace the crosswalk, and such a row is a finding.

    Raises InvalidObjects, TooManyObjects.
    """
    found: list[Finding] = []
    entries: dict[tuple[IdKind, str], CrosswalkEntry] = {}
    for line, row in _rows(body):
        if not whole and not row.get("ours"):
            continue
        try:
            entry = load_entry(row)
        except ValidationError as error:
            found += [at_line(bad, line) for bad in findings_of(error, row)]
        else:
            if entries.setdefault(entry[:2], entry) is not entry:
                found.append(at_line(finding("theirs", entry.external_id, "duplicate"), line))
        if len(entries) > MOST:
            raise TooManyObjects
        if len(found) >= MAX_FINDINGS:
            break
    if found:
        raise InvalidObjects(found[:MAX_FINDINGS])
    return list(entries.values())


def _rows(body: bytes) -> Iterator[tuple[int, dict[str, str]]]:
    text = _text(body)
    head = text.partition("\n")[0].rstrip("\r")
    if len(head) > MAX_RECORD:
        raise _bad_line(1, "", head, "length")
    mark = max(DELIMITERS, key=lambda mark: len({*names_of(head, mark)} & {*COLUMNS}))
    names = names_of(head, mark)
    if lacks := [name for name in COLUMNS if name not in names]:
        raise _bad_line(1, lacks[0], head, "required")
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=mark)
    try:
        line = 1
        for cells in reader:
            row = dict(zip(names, map(unescape_cell, cells), strict=False))
            if line > 1 and any(row.values()):
                yield line, {name: row[name] for name in COLUMNS if row.get(name)}
            line = reader.line_num + 1
    except csv.Error as error:
        raise _bad_line(line, "", "", "quote") from error


def _text(body: bytes) -> str:
    try:
        return body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = body[: error.start].count(b"\n") + 1
        raise _bad_line(line, "", "", "encoding") from error


def _bad_line(line: int, field: str, value: str, rule: str) -> InvalidObjects:
    return InvalidObjects([at_line(finding(field, value, rule), line)])


def csv_head() -> str:
    """The first line of a CSV file of entries."""
    return ",".join(COLUMNS) + "\r\n"


def csv_lines(rows: Iterable[Iterable[str]]) -> str:
    """Entries as lines of a CSV file."""
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\r\n").writerows([map(safe_cell, row) for row in rows])
    return text.getvalue()
