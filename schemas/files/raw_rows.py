"""Decodes rows as they were sent: with the columns or the ids of another system."""

import csv
from bisect import bisect_left
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Any, NamedTuple

from enrollment.domain.crosswalks import ExternalId
from enrollment.domain.submissions import ArchiveMember, Submission
from schemas.encoding.i_json import InvalidJson, loads
from schemas.files.csv_rows import (
    CsvColumns,
    LenientDialect,
    recognized_cells,
    require_learner,
    row_body,
)
from schemas.files.formats.applicability import NotApplicable
from schemas.files.formats.detect import NATIVE, NATIVE_FORMATS, columns_of_format, written_names
from schemas.files.formats.reader import FormatReader
from schemas.files.id_mapping import has_learner, ids_in, translate_ids
from schemas.files.row_payload import (
    CSV_ROWS,
    EMPTY_PAYLOAD,
    MAX_ROW_BYTES,
    ParsedRow,
    RowOptions,
    SkippedRows,
    check_members,
    contradiction_of,
    damage_of,
    decode_rows,
    first_line_of,
    invalid_json,
    read_payload,
    require_header,
    split_at_unclosed,
    too_long_row,
    unclosed_row,
)
from schemas.findings import Finding, finding
from schemas.requests.parsed import InvalidRequest
from schemas.requests.schema import load_request, without_absent

_SAME_NAMES: Mapping[str, str] = MappingProxyType({})


class RowFormat(NamedTuple):
    """The format of the rows of a file."""

    #: Encoding of the payload: csv, ndjson or json.
    encoding: str
    header: str | None = None
    #: The format of their columns.
    format: str = NATIVE
    #: The course of rows that have no column for one.
    course_id: str | None = None
    #: The system that their ids belong to; None: this service.
    source: str | None = None
    #: Members of JSON rows, in lower case, that may look like ones that are read.
    ignored: frozenset[str] = frozenset()
    #: The effective time of the rows; None: it does not matter which records are current.
    received_at: datetime | None = None

    @property
    def options(self) -> RowOptions:
        """The options for rows with native columns."""
        return RowOptions(self.course_id, self.ignored)

    @property
    def is_native(self) -> bool:
        """Whether rows have the native columns."""
        return self.format in NATIVE_FORMATS


class RawRow(NamedTuple):
    """One row of a file as sent: its ids may be external."""

    line: int
    #: None: the row is skipped, or cannot be read.
    body: Mapping[str, Any] | None
    #: The file's columns behind members of the body, where their names differ.
    columns: Mapping[str, str] = _SAME_NAMES
    findings: tuple[Finding, ...] = ()
    cells: list[str] | None = None
    #: Neither a body nor findings.
    is_skipped: bool = False
    #: Set if the row asks for nothing here.
    not_applicable: NotApplicable | None = None
    #: Identifies its record beside learner and course.
    record: str = ""
    #: Case-folded columns of another system's format, and the file's names for them.
    written: Mapping[str, str] = _SAME_NAMES
    #: Whether the learner must have the e-mail that the row names beside the username.
    binds_email: bool = False

    def ids(self, source: str) -> Iterator[ExternalId]:
        """Yields the external ids that the row contains."""
        return iter(()) if self.body is None else ids_in(self.body, source)

    def row(self, source: str | None, mapping: Mapping[ExternalId, str]) -> ParsedRow:
        """Returns the row with external ids replaced by those of this service."""
        sent = EMPTY_PAYLOAD if self.body is None else self.body
        if self.is_skipped:
            return ParsedRow(self.line, None, None, self.cells)
        if self.not_applicable is not None:
            field = self.not_applicable.field
            skipped = self.not_applicable._replace(field=self.written.get(field, field))
            return ParsedRow(self.line, None, None, self.cells, sent, skipped)
        body, missing = (sent, []) if source is None else translate_ids(sent, source, mapping)
        findings = [*self.findings, *missing]
        if not findings:
            try:
                request = require_learner(load_request(body))
                doubt = None if has_learner(sent, source, mapping) else damage_of(request)
                if doubt is None and self.binds_email:
                    doubt = contradiction_of(request)
                doubt = None if doubt is None else self._by_column(doubt)
                return ParsedRow(self.line, request, None, self.cells, doubt=doubt)
            except InvalidRequest as error:
                findings = [*error.findings]
        return ParsedRow(self.line, None, tuple(map(self._by_column, findings)), self.cells, sent)

    def unmapped_row(self) -> ParsedRow:
        """Returns the row for display: with its own ids, and without findings."""
        return ParsedRow(self.line, None, None, self.cells, self.body or EMPTY_PAYLOAD)

    def _by_column(self, item: Finding) -> Finding:
        """Returns the finding with the name of the file's own column."""
        field = str(item["field"])
        column = self.columns.get(field, field)
        return {**item, "field": self.written.get(column, column)}


def decode_raw_rows(
    payload: bytes, row_format: RowFormat, skipped: Collection[int] = ()
) -> Iterator[RawRow]:
    """Decodes rows before their ids are translated; rows at the indexes `skipped` are not read."""
    first_line, unclosed, text = read_payload(payload)
    skips = SkippedRows(skipped)
    if row_format.encoding != CSV_ROWS:
        return _json_rows(text, first_line, skips, row_format.ignored)
    columns = columns_of_format(row_format.format, require_header(row_format.header))
    records = _records(text.decode(), first_line, unclosed, columns)
    if row_format.is_native:
        return _native_rows(records, columns, skips, row_format.course_id)
    format_, course_id, at = row_format.format, row_format.course_id, row_format.received_at
    reader = FormatReader(format_, columns, course_id, at=at)
    written = written_names(format_, require_header(row_format.header))
    return _intent_rows(records, reader, skips, written)


def rows_for_display(
    payload: bytes, row_format: RowFormat, skipped: Collection[int] = ()
) -> Iterator[ParsedRow]:
    """Decodes rows to be rendered beside their outcomes; external ids stay as sent."""
    if row_format.is_native:
        form = (row_format.encoding, row_format.header)
        return decode_rows(payload, *form, skipped, row_format.options)
    return (raw.unmapped_row() for raw in decode_raw_rows(payload, row_format, skipped))


class _Record(NamedTuple):
    line: int
    cells: list[str]
    #: The record is one cell: a line with a quote that is never closed.
    is_unclosed: bool = False


def _records(
    text: str, first_line: int, unclosed: Sequence[int], columns: CsvColumns
) -> Iterator[_Record]:
    """Yields the records that are not blank."""
    for begin, lines, unclosed_line in split_at_unclosed(text, first_line, unclosed):
        if unclosed_line is not None:
            yield _Record(begin, [unclosed_line], is_unclosed=True)
            continue
        reader = csv.reader(lines, LenientDialect, delimiter=columns.delimiter)
        line = begin
        for cells in reader:
            if "".join(cells).strip(columns.blanks):
                yield _Record(line, cells)
            line = begin + reader.line_num


def _native_rows(
    records: Iterator[_Record], columns: CsvColumns, skips: SkippedRows, course_id: str | None
) -> Iterator[RawRow]:
    for line, cells, is_unclosed in records:
        if skips.is_next():
            yield RawRow(line, None, cells=cells, is_skipped=True)
        elif is_unclosed:
            yield RawRow(line, None, findings=(unclosed_row(cells[0]),), cells=cells)
        else:
            yield _native_row(line, cells, columns, course_id)


def _native_row(line: int, cells: list[str], columns: CsvColumns, course_id: str | None) -> RawRow:
    try:
        return RawRow(line, row_body(cells, columns, course_id), cells=cells)
    except InvalidRequest as error:
        body = recognized_cells(cells, columns)
        return RawRow(line, body, findings=error.findings, cells=cells)


def _intent_rows(
    records: Iterator[_Record], reader: FormatReader, skips: SkippedRows, written: Mapping[str, str]
) -> Iterator[RawRow]:
    for line, cells, is_unclosed in records:
        if is_unclosed:
            skips.is_next()
            yield RawRow(line, None, findings=(unclosed_row(cells[0]),), cells=cells)
            continue
        for intent in reader.intents(cells):
            intent_cells = reader.cells_of_intent(cells, intent)
            if skips.is_next():
                yield RawRow(line, None, cells=intent_cells, is_skipped=True)
            else:
                body, columns, findings, _, skipped, record = intent
                row = (line, body, columns, findings, intent_cells, False, skipped, record, written)
                yield RawRow._make((*row, reader.binds_email))


def _json_rows(
    text: bytes, first_line: int, skips: SkippedRows, ignored: Collection[str]
) -> Iterator[RawRow]:
    for line, raw in enumerate(text.split(b"\n"), first_line):
        if not raw or raw.isspace():
            continue
        if skips.is_next():
            yield RawRow(line, None, is_skipped=True)
            continue
        if len(raw) > MAX_ROW_BYTES:
            found = too_long_row(raw[:400].decode(errors="replace"))
            yield RawRow(line, None, findings=(found,))
            continue
        try:
            body = loads(raw)
        except InvalidJson as error:
            yield RawRow(line, None, findings=(invalid_json(raw, error),))
            continue
        yield _json_row(line, body, ignored)


def _json_row(line: int, body: object, ignored: Collection[str]) -> RawRow:
    if not isinstance(body, dict):
        return RawRow(line, None, findings=(finding("", body, "type"),))
    try:
        check_members(body, ignored)
    except InvalidRequest as error:
        return RawRow(line, _with_one_course(body), findings=error.findings)
    return RawRow(line, _with_one_course(body))


def _with_one_course(body: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the body with its course in `course_id` only, the member that is translated."""
    given = without_absent(body)
    if isinstance(given.get("course_details"), Mapping):
        del given["course_details"]
    return given


def format_of_batch(submission: Submission, payload: bytes) -> RowFormat:
    """Returns the format of the rows of one batch of a submission."""
    options, at = submission.options, submission.received_at
    if not submission.files:
        encoding, format_ = submission.encoding or "", submission.format or NATIVE
        kind = (encoding, submission.header, format_, options.course_id, options.source)
        return RowFormat(*kind, options.ignored_names, at)
    member = member_at(submission.files, first_line_of(payload))
    source = submission.source_of(member)
    kind = (member.encoding, member.header, member.format, options.course_id, source)
    return RowFormat(*kind, options.ignored_names, at)


def source_at(submission: Submission, line: int) -> str | None:
    """Returns the system that the ids of a line belong to; None: this service."""
    if not submission.files:
        return submission.options.source
    return submission.source_of(member_at(submission.files, line))


def sources_of(submission: Submission) -> set[str]:
    """Returns the systems that the external ids of a submission belong to."""
    sources = {submission.source_of(member) for member in submission.files}
    return {source for source in sources or {submission.options.source} if source is not None}


def member_at(files: Sequence[ArchiveMember], line: int) -> ArchiveMember:
    """Returns the file of an archive that a line belongs to."""
    return files[bisect_left(files, line, key=lambda member: member.lines_before) - 1]
