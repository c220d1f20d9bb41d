"""How the files of a submission are read: their formats and columns, in words."""

from collections.abc import Mapping
from typing import NamedTuple

from enrollment.domain.codes import Kind
from enrollment.domain.submissions import Submission
from schemas.files.formats.base import (
    BEGIN_COLUMN,
    COURSE_COLUMN,
    EMAIL_COLUMN,
    END_COLUMN,
    LEARNER_COLUMN,
    STATUS_COLUMN,
)
from schemas.files.formats.detect import (
    BULK_CHANGE,
    FORMATS_BY_NAME,
    MIXED,
    NATIVE,
    column_meanings,
)

#: Meanings of columns whose names would not say enough.
_MEANING_WORDS: Mapping[str, str] = {
    LEARNER_COLUMN: "username",
    EMAIL_COLUMN: "e-mail of the learner",
    COURSE_COLUMN: "course",
    STATUS_COLUMN: "enrolled or withdrawn",
    BEGIN_COLUMN: "begin of the record",
    END_COLUMN: "end of the record",
}
_TITLES: Mapping[str, str] = {
    NATIVE: "columns of this service",
    BULK_CHANGE: "Open edX bulk change of modes",
    MIXED: "files of several formats",
}


class FileReading(NamedTuple):
    """The format of a file in words, and the meaning of each column that is read."""

    #: Of a file in an archive.
    name: str | None
    title: str
    columns: tuple[tuple[str, str], ...]
    rows: int | None


def read_files(submission: Submission) -> list[FileReading]:
    """Returns the files of an archive, or the one that was sent; none for a single request."""
    if submission.kind is not Kind.BULK:
        return []
    if submission.files:
        return [
            _reading(file.name, file.format, file.header, file.rows) for file in submission.files
        ]
    format_ = submission.format or NATIVE
    return [_reading(None, format_, submission.header, submission.total)]


def _reading(name: str | None, format_: str, header: str | None, rows: int | None) -> FileReading:
    known = FORMATS_BY_NAME.get(format_)
    title = _TITLES.get(format_, format_) if known is None else known.title
    meanings = {} if header is None else column_meanings(format_, header)
    columns = ((column, _MEANING_WORDS.get(word, word)) for column, word in meanings.items())
    return FileReading(name, title, tuple(columns), rows)
