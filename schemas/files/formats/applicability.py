"""Decides whether a row applies here: reasons to skip it, and the dates of its record."""

from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import NamedTuple

from enrollment.domain.codes import Reason
from schemas.findings import Rule


class NotApplicable(NamedTuple):
    """Why a row asks for nothing here: its outcome is `skipped`."""

    reason: Reason
    #: The column that says so, and its content as messages show it.
    field: str
    value: object

    @property
    def details(self) -> dict[str, object]:
        """The facts of the outcome."""
        return {"field": self.field, "value": self.value}


class DateForm(NamedTuple):
    """The form in which a format writes dates."""

    #: Returns None for "no date". A date without a time is of UTC. Raises ValueError.
    read: Callable[[str], date | datetime | None]
    #: The rule that other content breaks, and what is expected.
    rule: str
    expected: str


def _read_iso_date(text: str) -> date | datetime:
    if not text.isascii():
        message = "a date has ASCII characters only"
        raise ValueError(message)
    try:
        return date.fromisoformat(text)
    except ValueError:
        moment = datetime.fromisoformat(text)
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


ISO_DATES = DateForm(
    _read_iso_date, Rule.DATETIME, "a date is written as 2026-01-31 or 2026-01-31T12:00:00Z"
)


def has_passed(end: date | datetime, at: datetime) -> bool:
    """Returns whether an end has passed; a day has when it is over."""
    return at >= end if isinstance(end, datetime) else at.astimezone(UTC).date() > end


def is_to_come(begin: date | datetime, at: datetime) -> bool:
    """Returns whether a begin is to come; a day is not from its first moment on."""
    return at < begin if isinstance(begin, datetime) else at.astimezone(UTC).date() < begin
