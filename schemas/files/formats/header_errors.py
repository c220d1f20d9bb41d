"""Checks headers of CSV files; the errors name what is missing, and the nearest format."""

from collections import Counter
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from itertools import chain

from schemas.files.csv_rows import COURSE_COLUMNS, KNOWN_COLUMNS, MAX_COLUMNS, CsvColumns
from schemas.files.formats.base import Format
from schemas.files.source import UnreadableFile

#: Characters of a name, and of a header, that an error repeats.
_MAX_NAME_CHARS, _MAX_HEADER_CHARS = 40, 400
#: A format is near if a header lacks less than this share of what it needs, or as much, but has a
#: column of that format alone.
_MAX_MISSING_SHARE = 0.5
#: Near misses that an error names.
_MAX_NEAR = 3


def missing_native(columns: CsvColumns, *, has_course: bool) -> list[str]:
    """Returns what a header lacks of the native columns, in words.

    `has_course`: the course is named beside the file.
    """
    names = set(columns.names)
    missing = [] if has_course or names & COURSE_COLUMNS else ["course_id"]
    return missing if names & {"user", "email"} else [*missing, "user or email"]


def check_native(columns: CsvColumns, header: str, *, has_course: bool) -> CsvColumns:
    """Returns the columns. Raises UnreadableFile unless they are complete native ones."""
    if missing := missing_native(columns, has_course=has_course):
        raise native_error(columns, header, missing, has_course=has_course)
    check_repeated(columns, [name for name in columns.names if name in KNOWN_COLUMNS])
    return columns


def check_repeated(columns: CsvColumns, read: Sequence[str]) -> None:
    """Raises UnreadableFile if one of the names that are read is repeated, or for too many."""
    (name, times), *_ = Counter(read).most_common(1) or [("", 0)]
    if times > 1:
        message = f"the column {name[:_MAX_NAME_CHARS]!r} is there {times} times: keep one of them"
        expected = "each column that is read once"
        raise UnreadableFile("repeated_columns", message, found=name, expected=expected)
    if len(columns.names) > MAX_COLUMNS:
        message = f"there are more columns than {MAX_COLUMNS}"
        expected = f"at most {MAX_COLUMNS} columns"
        raise UnreadableFile("repeated_columns", message, expected=expected)


def check_complete(columns: CsvColumns, header: str, format_: Format) -> CsvColumns:
    """Returns the columns. Raises UnreadableFile unless they are those of a format."""
    missing = format_.missing_groups(columns.names)
    if missing:
        raise format_error(columns, header, format_)
    read = [format_.canonical(n) for n in columns.names if format_.meaning(n) is not None]
    check_repeated(columns, read)
    return columns


def native_error(
    columns: CsvColumns, header: str, missing: Sequence[str], *, has_course: bool
) -> UnreadableFile:
    """Returns the error for a header without native columns that are needed."""
    text = _header_text(header)
    if text[:1] in {"{", "["}:
        message = "this looks like JSON: send it as application/x-ndjson or application/json"
    else:
        message = f"the header has no {' and no '.join(missing)}" + _hint(
            columns, text, missing, has_course=has_course
        )
    groups = ["user or email"] if has_course else ["user or email", "course_id"]
    return UnreadableFile("unknown_columns", message, found=text, expected=groups)


def format_error(columns: CsvColumns, header: str, format_: Format) -> UnreadableFile:
    """Returns the error for a header without columns that a format of another system needs."""
    missing = format_.missing_groups(columns.names)
    unread = [name for name in columns.names[:MAX_COLUMNS] if format_.meaning(name) is None]
    near = [
        f"{close[0][:_MAX_NAME_CHARS]!r} looks like {word!r}"
        for word in chain.from_iterable(group.split(" or ") for group in missing)
        if (close := get_close_matches(word.casefold(), unread, 1))
    ]
    hint = f" ({', '.join(near[:_MAX_NEAR])})" if near else ""
    return UnreadableFile(
        "unknown_columns",
        f"this looks like {format_.name}, but the header has no {' and no '.join(missing)}{hint}",
        found=_header_text(header),
        expected=format_.missing_groups(()),
    )


def unknown_error(
    headers: Sequence[CsvColumns],
    header: str,
    formats: Iterable[Format],
    native: UnreadableFile,
) -> UnreadableFile:
    """Returns the error for an unknown header: that of the nearest format, if one is near."""
    columns = max(headers, key=lambda columns: len(columns.names))

    known = list(formats)

    def missing_share(format_: Format) -> float:
        return len(format_.missing_groups(columns.names)) / len(format_.missing_groups(()))

    def is_near(format_: Format) -> bool:
        share = missing_share(format_)
        others = chain.from_iterable(other.columns for other in known if other is not format_)
        return share < _MAX_MISSING_SHARE or (
            share == _MAX_MISSING_SHARE and _has_own(format_, columns.names, others)
        )

    nearest = min(filter(is_near, known), key=missing_share, default=None)
    return native if nearest is None else format_error(columns, header, nearest)


def _has_own(format_: Format, names: Iterable[str], others: Iterable[str]) -> bool:
    """Returns whether a header has a column of a format that neither another one has, nor we."""
    shared = KNOWN_COLUMNS.union(name.casefold() for name in others)
    return any(name not in shared and format_.meaning(name) for name in names)


def _hint(columns: CsvColumns, text: str, missing: Sequence[str], *, has_course: bool) -> str:
    names = columns.names[:MAX_COLUMNS]
    near = [
        f"{name[:_MAX_NAME_CHARS]!r} looks like {close[0]!r}"
        for name in names
        if name not in KNOWN_COLUMNS
        and (close := get_close_matches(name[:_MAX_NAME_CHARS], sorted(KNOWN_COLUMNS), 1))
    ]
    if near:
        return f" ({', '.join(near[:_MAX_NEAR])})"
    if "course_id" in missing and len(missing) == 1:
        return ": add it, or name the course of all rows with the option course_id"
    if KNOWN_COLUMNS.intersection(names):
        return ""
    line = "user" if has_course else f"user{columns.delimiter}course_id"
    return (
        f": the first line is taken for the header; yours is `{text}`. "
        f"If it is a row, put `{line}` above it"
    )


def _header_text(header: str) -> str:
    """Returns a header as it was sent, printable, and shortened."""
    text = header[: _MAX_HEADER_CHARS - 1] + "…" if len(header) > _MAX_HEADER_CHARS else header
    return "".join(sign if sign.isprintable() else " " for sign in text)
