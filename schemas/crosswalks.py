"""Parses and renders entries of crosswalks, in JSON or CSV.

An entry maps an external id (`theirs`) of a `kind` to an id of this service (`ours`).
"""

import csv
import io
from collections.abc import Iterable, Iterator, Mapping
from typing import TypedDict

from marshmallow import ValidationError, fields, validate

from enrollment.domain.codes import IdKind
from enrollment.domain.crosswalks import MAX_EXTERNAL_ID, CrosswalkEntry
from schemas.fields import (
    ERROR_RULES,
    MAX_NAME,
    BoundedString,
    StrictSchema,
    is_course_key,
    parse_username,
    username_rule,
)
from schemas.files.csv_rows import DELIMITERS, LenientDialect, names_of, unescape_id
from schemas.files.safe_cells import safe_cell
from schemas.files.source import MAX_RECORD_CHARS
from schemas.findings import MAX_FINDINGS, ONE_OF_ERROR, Finding, at_line, finding, findings_of
from schemas.requests.bulk_objects import BulkReader, InvalidObjects, TooManyObjects

#: Maximum of entries in one request, and of unmapped ids in one response.
MAX_CROSSWALK_ENTRIES = 50_000
ENTRY_COLUMNS = ("kind", "theirs", "ours")
_KINDS = {kind.value: kind for kind in IdKind}


class EntrySchema(StrictSchema):
    """One entry: an external id and the id of this service that it stands for."""

    kind = fields.String(
        required=True,
        validate=validate.OneOf([*IdKind], error=ONE_OF_ERROR),
        error_messages=ERROR_RULES,
    )
    theirs = BoundedString(max_length=MAX_EXTERNAL_ID, min_length=1, required=True)
    ours = BoundedString(max_length=MAX_NAME, min_length=1, required=True)


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
    """Parses an entry. Raises marshmallow's ValidationError, with rules as messages."""
    members: Mapping[str, str] = _ENTRY.load(data)  # type: ignore[arg-type]
    kind, ours = _KINDS[members["kind"]], members["ours"]
    if kind is IdKind.COURSE and not is_course_key(ours):
        raise ValidationError({"ours": ["course_key"]})
    if kind is IdKind.LEARNER:
        username = parse_username(ours)
        if username is None:
            raise ValidationError({"ours": [username_rule(ours)]})
        ours = username
    return CrosswalkEntry(kind, members["theirs"], ours)


def dump_entry(entry: CrosswalkEntry) -> EntryJson:
    """Renders an entry."""
    return {"kind": entry.kind, "theirs": entry.external_id, "ours": entry.local_id}


def _key(entry: CrosswalkEntry) -> str:
    return f"{entry.kind.value} {entry.external_id}"


ENTRIES_READER = BulkReader(
    "entries", load_entry, key=_key, key_field="theirs", max_objects=MAX_CROSSWALK_ENTRIES
)


def parse_csv_entries(body: bytes, *, require_local_ids: bool = False) -> list[CrosswalkEntry]:
    """Parses a CSV file of entries.

    Rows without `ours` are skipped, as they are still to be filled in; with `require_local_ids`
    they are findings. Raises InvalidObjects, TooManyObjects.
    """
    findings: list[Finding] = []
    entries: dict[tuple[IdKind, str], CrosswalkEntry] = {}
    for line, row in _rows(body):
        if not require_local_ids and not row.get("ours"):
            continue
        try:
            entry = load_entry(row)
        except ValidationError as error:
            findings += [at_line(item, line) for item in findings_of(error, row)]
        else:
            if entries.setdefault(entry[:2], entry) is not entry:
                findings.append(at_line(finding("theirs", entry.external_id, "duplicate"), line))
        if len(entries) > MAX_CROSSWALK_ENTRIES:
            raise TooManyObjects
        if len(findings) >= MAX_FINDINGS:
            break
    if findings:
        raise InvalidObjects(findings[:MAX_FINDINGS])
    return list(entries.values())


def _rows(body: bytes) -> Iterator[tuple[int, dict[str, str]]]:
    text = _text(body)
    header = text.partition("\n")[0].rstrip("\r")
    if len(header) > MAX_RECORD_CHARS:
        raise _invalid_line(1, "", header, "length")
    delimiter = max(DELIMITERS, key=lambda it: len({*names_of(header, it)} & {*ENTRY_COLUMNS}))
    names = names_of(header, delimiter)
    if missing := [name for name in ENTRY_COLUMNS if name not in names]:
        raise _invalid_line(1, missing[0], None, "required")
    reader = csv.reader(io.StringIO(text, newline=""), LenientDialect, delimiter=delimiter)
    try:
        line = 1
        for cells in reader:
            row = dict(zip(names, map(unescape_id, cells), strict=False))
            if line > 1 and any(row.values()):
                yield line, {name: row[name] for name in ENTRY_COLUMNS if row.get(name)}
            line = reader.line_num + 1
    except csv.Error as error:
        raise _invalid_line(line, "", "", "quote") from error


def _text(body: bytes) -> str:
    try:
        return body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = body[: error.start].count(b"\n") + 1
        raise _invalid_line(line, "", "", "encoding") from error


def _invalid_line(line: int, field: str, value: str | None, rule: str) -> InvalidObjects:
    return InvalidObjects([at_line(finding(field, value, rule), line)])


def csv_header() -> str:
    """Returns the first line of a CSV file of entries."""
    return ",".join(ENTRY_COLUMNS) + "\r\n"


def csv_lines(rows: Iterable[Iterable[str]]) -> str:
    """Renders entries as lines of a CSV file."""
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\r\n").writerows([map(safe_cell, row) for row in rows])
    return text.getvalue()
