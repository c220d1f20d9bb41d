"""Rows as they were sent: of other systems' columns, or with other systems' ids."""

import csv
from bisect import bisect_left
from collections.abc import Collection, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from enrollment.domain.crosswalks import Theirs
from enrollment.domain.submissions import Member, Submission
from schemas.csv_rows import Columns, named, recognized_cells, row_body
from schemas.findings import Finding, finding
from schemas.foreign.detect import NATIVE, OUR_COLUMNS, columns_in
from schemas.foreign.reader import Reader
from schemas.i_json import InvalidJson, loads
from schemas.id_mapping import ids_in, translated
from schemas.parsed import ShapeError
from schemas.request_schema import load_request, stated
from schemas.row_payload import (
    CSV,
    NOTHING,
    LeftOut,
    Row,
    decode_rows,
    first_line_of,
    given_header,
    not_json,
    opened,
    parts,
    unclosed_row,
)

_NO_FIELDS: Mapping[str, str] = MappingProxyType({})


class Form(NamedTuple):
    """How the rows of a file are to be read."""

    #: How they are kept: csv, ndjson or json.
    encoding: str
    header: str | None = None
    #: Whose columns they have.
    format: str = NATIVE
    #: The course of rows that have no place for one.
    course_id: str | None = None
    #: Whose ids they have; None: ours.
    source: str | None = None

    @property
    def is_ours(self) -> bool:
        """Whether rows have our own columns."""
        return self.format in OUR_COLUMNS


class Sent(NamedTuple):
    """One row of a file as it was sent: its ids may be those of another system."""

    line: int
    #: None: it is not read, or cannot be.
    body: Mapping[str, Any] | None
    #: Columns behind the members of the body, where they are not ours.
    fields: Mapping[str, str] = _NO_FIELDS
    findings: tuple[Finding, ...] = ()
    cells: list[str] | None = None
    #: It is left out: there is neither a body nor anything to say.
    is_left_out: bool = False

    def ids(self, source: str) -> Iterator[Theirs]:
        """The ids that it names."""
        return iter(()) if self.body is None else ids_in(self.body, source)

    def row(self, source: str | None, ours: Mapping[Theirs, str]) -> Row:
        """The row, its ids translated."""
        told = NOTHING if self.body is None else self.body
        if self.is_left_out:
            return Row(self.line, None, None, self.cells)
        body, missing = (told, []) if source is None else translated(told, source, ours)
        findings = [*self.findings, *missing]
        if not findings:
            try:
                return Row(self.line, named(load_request(body)), None, self.cells)
            except ShapeError as error:
                findings = [*error.findings]
        return Row(self.line, None, tuple(map(self._in_their_words, findings)), self.cells, told)

    def untranslated(self) -> Row:
        """The row as it is, to be shown: nothing is judged."""
        return Row(self.line, None, None, self.cells, self.body or NOTHING)

    def _in_their_words(self, found: Finding) -> Finding:
        field = str(found["field"])
        return {**found, "field": self.fields[field]} if field in self.fields else found


def decode_sent(payload: bytes, form: Form, left_out: Collection[int] = ()) -> Iterator[Sent]:
    """Read rows back whose ids are to be translated."""
    first_line, unclosed, text = opened(payload)
    missing = LeftOut(left_out)
    if form.encoding != CSV:
        return _sent_json(text, first_line, missing)
    columns = columns_in(form.format, given_header(form.header))
    records = _records(text.decode(), first_line, unclosed, columns)
    if form.is_ours:
        return _sent_cells(records, columns, missing)
    return _sent_wishes(records, Reader(form.format, columns, form.course_id), missing)


def shown_rows(payload: bytes, form: Form, left_out: Collection[int] = ()) -> Iterator[Row]:
    """Rows to be shown beside their outcomes; ids of another system as they were sent."""
    if form.is_ours:
        return decode_rows(payload, form.encoding, form.header, left_out)
    return (sent.untranslated() for sent in decode_sent(payload, form, left_out))


class _Record(NamedTuple):
    line: int
    cells: list[str]
    #: It is one cell, a line whose quote never closes.
    is_unclosed: bool = False


def _records(
    text: str, first_line: int, unclosed: Sequence[int], columns: Columns
) -> Iterator[_Record]:
    """The records that are not blank."""
    for begin, part, given_up in parts(text, first_line, unclosed):
        if given_up is not None:
            yield _Record(begin, [given_up], is_unclosed=True)
            continue
        reader = csv.reader(part, delimiter=columns.delimiter)
        line = begin
        for cells in reader:
            if "".join(cells).strip(columns.blanks):
                yield _Record(line, cells)
            line = begin + reader.line_num


def _sent_cells(records: Iterator[_Record], columns: Columns, missing: LeftOut) -> Iterator[Sent]:
    for line, cells, is_unclosed in records:
        if missing.is_next():
            yield Sent(line, None, cells=cells, is_left_out=True)
        elif is_unclosed:
            yield Sent(line, None, findings=(unclosed_row(cells[0]),), cells=cells)
        else:
            yield _sent_row(line, cells, columns)


def _sent_row(line: int, cells: list[str], columns: Columns) -> Sent:
    try:
        return Sent(line, row_body(cells, columns), cells=cells)
    except ShapeError as error:
        return Sent(line, recognized_cells(cells, columns), findings=error.findings, cells=cells)


def _sent_wishes(records: Iterator[_Record], read: Reader, missing: LeftOut) -> Iterator[Sent]:
    for line, cells, is_unclosed in records:
        if is_unclosed:
            missing.is_next()
            yield Sent(line, None, findings=(unclosed_row(cells[0]),), cells=cells)
            continue
        for wish in read.wishes(cells):
            own = read.own_cells(cells, wish)
            if missing.is_next():
                yield Sent(line, None, cells=own, is_left_out=True)
            else:
                yield Sent(line, wish.body, wish.fields, wish.findings, own)


def _sent_json(text: bytes, first_line: int, missing: LeftOut) -> Iterator[Sent]:
    for line, raw in enumerate(text.split(b"\n"), first_line):
        if not raw or raw.isspace():
            continue
        if missing.is_next():
            yield Sent(line, None, is_left_out=True)
            continue
        try:
            body = loads(raw)
        except InvalidJson as error:
            yield Sent(line, None, findings=(not_json(raw, error),))
            continue
        if isinstance(body, dict):
            yield Sent(line, _in_one_place(body))
        else:
            yield Sent(line, None, findings=(finding("", body, "type"),))


def _in_one_place(body: Mapping[str, Any]) -> dict[str, Any]:
    """What a body says, its course named once: what is translated must be what is read."""
    given = stated(body)
    if isinstance(given.get("course_details"), Mapping):
        del given["course_details"]
    return given


def form_of(submission: Submission, payload: bytes) -> Form:
    """How the rows of one of a submission's batches are to be read."""
    course_id, source = submission.options.course_id, submission.options.source
    if not submission.files:
        encoding, format_ = submission.encoding or "", submission.format or NATIVE
        return Form(encoding, submission.header, format_, course_id, source)
    member = member_at(submission.files, first_line_of(payload))
    source = submission.source_of(member)
    return Form(member.encoding, member.header, member.format, course_id, source)


def source_at(submission: Submission, line: int) -> str | None:
    """Whose ids stand in a line; None: they are ours."""
    if not submission.files:
        return submission.options.source
    return submission.source_of(member_at(submission.files, line))


def sources_of(submission: Submission) -> set[str]:
    """The systems whose ids a submission has."""
    named = {submission.source_of(member) for member in submission.files}
    return {source for source in named or {submission.options.source} if source is not None}


def member_at(files: Sequence[Member], line: int) -> Member:
    """The file of an archive that a line stands in."""
    return files[bisect_left(files, line, key=lambda member: member.lines_before) - 1]
