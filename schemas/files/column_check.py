"""Refuses files with columns that are not read but look like ones that are.

Such a column is ignored, so a file that withdraws by `status,inactive` would enroll instead.
"""

from collections.abc import Collection

from schemas.files.csv_rows import KNOWN_COLUMNS
from schemas.files.formats.base import NUMBERED, STATUS_COLUMN, Format
from schemas.files.formats.detect import (
    FORMATS_BY_NAME,
    NATIVE_FORMATS,
    DetectedFormat,
    unread_columns,
)
from schemas.files.source import UnreadableFile
from schemas.findings import display_value, shorten
from schemas.requests.near_miss import means_activity, similar_name


def check_unread(detected: DetectedFormat, ignored: Collection[str]) -> None:
    """Raises UnreadableFile for columns that are not read but look like ones that are.

    Those in `ignored`, in lower case, may pass.
    """
    if not detected.has_header:
        return
    unread = unread_columns(detected.format, detected.header)
    similar = [
        (str(display_value(written)), near)
        for folded, written in unread.items()
        if folded not in ignored and (near := _similar(detected.format, folded)) is not None
    ]
    if similar:
        raise _error(detected.format, similar)


def _error(format_: str, similar: list[tuple[str, str]]) -> UnreadableFile:
    described = [
        f"{name!r} looks like {near!r}" if near else f"{format_} has no column like {name!r}"
        for name, near in similar[:3]
    ]
    names = shorten(",".join(name.casefold() for name, _ in similar))
    name, near = similar[0]
    return UnreadableFile(
        "unread_columns",
        f"the file has columns that are not read: {'; '.join(described)}. Rename or remove them, "
        f"or let them pass with the option ignore={names}",
        found=name,
        expected=[near] if near else [f"no column {name}"],
    )


def _similar(format_: str, name: str) -> str | None:
    """Returns the column that another one looks like.

    Empty: it looks like a status, which the format does not have. None: it looks like none.
    """
    if format_ not in NATIVE_FORMATS:
        return _similar_foreign(FORMATS_BY_NAME[format_], name)
    near = similar_name(name, KNOWN_COLUMNS)
    return "is_active" if near is None and means_activity(name) else near


def _similar_foreign(format_: Format, name: str) -> str | None:
    if name in format_.other_columns:
        return None
    near = similar_name(name, frozenset(format_.columns)) or _similar_numbered(format_, name)
    if near is not None or not means_activity(name):
        return near
    numbered = {f"{stem}1": meaning for stem, meaning in (format_.numbered or {}).items()}
    meanings = {**format_.columns, **numbered}
    return next((name for name, means in meanings.items() if means == STATUS_COLUMN), "")


def _similar_numbered(format_: Format, name: str) -> str | None:
    """Returns the numbered column that a name looks like, also one without its number."""
    if format_.numbered is None:
        return None
    matched = NUMBERED.fullmatch(name)
    stem, number = (name, "1") if matched is None else matched.groups()
    near = similar_name(stem, frozenset(format_.numbered))
    return None if near is None else f"{near}{number}"
