"""Describes formats of other systems: their columns, detection, and the meaning of rows."""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import cached_property
from typing import Any, NamedTuple

from enrollment.domain.codes import Reason
from schemas.files.formats.applicability import (
    ISO_DATES,
    DateForm,
    NotApplicable,
    has_passed,
    is_to_come,
)
from schemas.findings import Finding, Rule, display_value, finding

#: Cells of a row by the case-folded name of their column; empty ones are left out.
Cells = Mapping[str, str]

#: Meanings of columns.
LEARNER_COLUMN, EMAIL_COLUMN, COURSE_COLUMN = "learner", "email", "course"
MODE_COLUMN, COHORT_COLUMN = "mode", "cohort"
ROLE_COLUMN, STATUS_COLUMN = "role", "status"
BEGIN_COLUMN, END_COLUMN = "begin", "end"
#: Columns with these meanings are members of a request.
_MEMBERS = {
    LEARNER_COLUMN: "user",
    EMAIL_COLUMN: "email",
    COURSE_COLUMN: "course_id",
    MODE_COLUMN: "mode",
    COHORT_COLUMN: "cohort",
}

#: A column with a number, such as `course1`.
NUMBERED = re.compile(r"([a-z]+)([0-9]{1,3})")


class RowIntent(NamedTuple):
    """The request of a row for one learner in one course: a body with external ids."""

    body: dict[str, Any]
    #: The file's column behind each member of the body.
    columns: Mapping[str, str]
    findings: tuple[Finding, ...] = ()
    #: Of a row with several requests: the number of the columns of this one.
    number: str | None = None
    #: Set if the row asks for nothing here; it has no findings then.
    not_applicable: NotApplicable | None = None
    #: Identifies the record beside learner and course.
    record: str = ""


class RowParser:
    """Collects the members of one request from a row, and the findings about it.

    The first finding, or the first reason to skip the row, decides what it is: after a finding it
    is not skipped, and a row that is skipped is not read any further.
    """

    def __init__(self, cells: Cells, at: datetime | None = None) -> None:
        self.cells = cells
        #: The effective time, by which dates are compared; None: they are not.
        self.at = at
        self._not_applicable: NotApplicable | None = None
        self._body: dict[str, Any] = {}
        self._columns: dict[str, str] = {}
        self._findings: list[Finding] = []

    def take(self, member: str, *columns: str) -> None:
        """Sets a member of the body from the first of the columns that is not empty."""
        for column in columns:
            if column in self.cells:
                self._columns[member] = column
                self._body[member] = self.cells[column]
                return
        self._columns[member] = columns[0]

    def take_status(
        self, column: str, words: Mapping[str, bool | None], *, default: bool | None = None
    ) -> bool:
        """Sets `is_active` from a word; returns False for a word that stands for None."""
        word = self.cells.get(column)
        if word is None and default is not None:
            self._body["is_active"] = default
            return True
        active = words.get((word or "").casefold(), word)
        if isinstance(active, bool):
            self._body["is_active"] = active
        elif word is None:
            self.report(column, "required")
        elif active is None:
            return False
        else:
            self.report(column, Rule.ONE_OF, "known are " + ", ".join(words))
        return True

    def check_role(
        self,
        column: str,
        learners: Collection[str],
        others: Collection[str] | None = None,
        *,
        is_required: bool,
    ) -> None:
        """Skips the row for a role that is not a learner's; `others` are all of those, if known."""
        role = self.cells.get(column)
        if role is None:
            if is_required:
                self.report(column, "required")
        elif role.casefold() in learners:
            return
        elif others is None or role.casefold() in others:
            self.skip(column, Reason.ROLE_NOT_LEARNER)
        else:
            self.report(column, Rule.ONE_OF, "known are " + ", ".join([*learners, *others]))

    def check_dates(self, begin: str | None, end: str | None, form: DateForm) -> None:
        """Skips an enrollment that has ended or is to begin; reports a date that is unreadable.

        A withdrawal is never skipped: the row that ends a record often comes after its end date.
        """
        for column, is_outside in ((begin, is_to_come), (end, has_passed)):
            moment = None if column is None else self._read_date(column, form)
            if moment is None or column is None or self.at is None:
                continue
            if self._body.get("is_active") is True and is_outside(moment, self.at):
                self.skip(column, Reason.NOT_CURRENT)

    def _read_date(self, column: str, form: DateForm) -> date | datetime | None:
        try:
            return form.read(self.cells[column]) if column in self.cells else None
        except ValueError:
            self.report(column, form.rule, form.expected)
            return None

    def report(self, column: str, rule: str, message: str | None = None) -> None:
        """Adds a finding on a column, unless the row is skipped."""
        if self._not_applicable is None:
            self._findings.append(finding(column, self.cells.get(column), rule, message))

    def skip(self, column: str, reason: Reason) -> None:
        """Skips the row for the content of a column, unless there is a finding already."""
        if self._not_applicable is None and not self._findings:
            value = display_value(self.cells.get(column))
            self._not_applicable = NotApplicable(reason, column, value)

    def intent(self, number: str | None = None, record: str = "") -> RowIntent:
        """Returns the collected request."""
        findings, skipped = tuple(self._findings), self._not_applicable
        return RowIntent(self._body, self._columns, findings, number, skipped, record)


def _one(cells: Cells) -> int:
    return 1


@dataclass(frozen=True, kw_only=True, eq=False)
class Format:
    """A file format of another system."""

    name: str
    #: Name for readers.
    title: str
    #: Columns that are read, as written, and their meanings (empty: no member of a request). Of
    #: several columns with one meaning, the first that is not empty is used.
    columns: Mapping[str, str]
    #: Groups of columns, as written: a header that has one of each group is of this format.
    identifying_columns: tuple[tuple[str, ...], ...]
    #: Case-folded names of columns that belong to the format, and are not read.
    other_columns: Collection[str] = frozenset()
    #: Groups of which a file of this format must have one as well.
    required_columns: tuple[tuple[str, ...], ...] = ()
    #: Values of the role's column that stand for a learner.
    learner_roles: Collection[str] = frozenset({"student"})
    #: All other values of the role's column; None: any.
    other_roles: Collection[str] | None = None
    is_role_required: bool = True
    #: Values of the status' column: enroll, withdraw, or (None) neither.
    statuses: Mapping[str, bool | None] | None = None
    #: The meaning of an empty status; None: a status is required.
    default_status: bool | None = None
    #: Skips rows of another kind, before anything else is checked.
    check_kind: Callable[[RowParser], None] | None = None
    #: Reports errors of a row that the common checks do not find.
    check: Callable[[RowParser], None] | None = None
    #: How dates are written.
    dates: DateForm = ISO_DATES
    #: Parses a row with several requests; the time is that of `RowParser`.
    parse_many: Callable[[Cells, datetime | None], Sequence[RowIntent]] | None = None
    #: Counts the requests of a row.
    count: Callable[[Cells], int] = _one
    #: Columns with a number behind them, such as course1, and their meanings.
    numbered: Mapping[str, str] | None = None
    #: Whether a line is one of a file without a header.
    is_line: Callable[[Sequence[str]], bool] | None = None
    #: Normalizes the cells of a row before they are read.
    normalize: Callable[[Sequence[str]], Sequence[str]] | None = None
    #: Beginning of lines at the end of a file that are no rows, case-folded.
    footer: str | None = None
    #: Case-folded columns that identify a record beside learner and course.
    record_columns: Sequence[str] = ()
    #: Whether learners and courses have ids of another system.
    has_external_ids: bool = True
    #: Whether the learner of a row must have its e-mail, unless the learner has none.
    binds_email: bool = False

    def parse(self, cells: Cells, at: datetime | None = None) -> Sequence[RowIntent]:
        """Returns the requests of a row: one, or several of a row with numbered columns.

        `at` is the effective time, by which records are current or not; None: all of them are.
        """
        if self.parse_many is not None:
            return self.parse_many(cells, at)
        row = RowParser(cells, at)
        for member, columns in self._members:
            row.take(member, *columns)
        if self.check_kind is not None:
            self.check_kind(row)
        is_applicable = self._take_status(row)
        self._check_role(row)
        if not is_applicable:
            row.skip(self._column[STATUS_COLUMN], Reason.STATUS_NOT_APPLICABLE)
        if self.check is not None:
            self.check(row)
        begin, end = self._column.get(BEGIN_COLUMN), self._column.get(END_COLUMN)
        if begin in cells or end in cells:
            row.check_dates(begin, end, self.dates)
        names = self.record_columns
        return (row.intent(record="\0".join([cells.get(n, "") for n in names]) if names else ""),)

    def _take_status(self, row: RowParser) -> bool:
        words, default = self.statuses, self.default_status
        return words is None or row.take_status(self._column[STATUS_COLUMN], words, default=default)

    def _check_role(self, row: RowParser) -> None:
        role = self._column.get(ROLE_COLUMN)
        if role is not None:
            required = self.is_role_required
            row.check_role(role, self.learner_roles, self.other_roles, is_required=required)

    @cached_property
    def _members(self) -> Sequence[tuple[str, tuple[str, ...]]]:
        """Members of a request, and the columns that each is taken from."""
        columns_by_member = (
            (member, self._meaning(meaning)) for meaning, member in _MEMBERS.items()
        )
        return [(member, columns) for member, columns in columns_by_member if columns]

    @cached_property
    def _column(self) -> Mapping[str, str]:
        """The first column of each meaning."""
        columns: dict[str, str] = {}
        for name, meaning in self.columns.items():
            columns.setdefault(meaning, name.casefold())
        return columns

    def _meaning(self, meaning: str) -> tuple[str, ...]:
        return tuple(name.casefold() for name, means in self.columns.items() if means == meaning)

    def missing_groups(self, names: Collection[str]) -> list[str]:
        """Returns the groups of which a header has no column, in words."""
        groups = (*self.identifying_columns, *self.required_columns)
        return [" or ".join(group) for group in groups if not self._has_one(group, names)]

    def matches(self, names: Collection[str]) -> bool:
        """Returns whether a header has a column of every group that identifies the format."""
        return all(self._has_one(group, names) for group in self.identifying_columns)

    def _has_one(self, group: Sequence[str], names: Collection[str]) -> bool:
        return any(self._has(column.casefold(), names) for column in group)

    def _has(self, name: str, names: Collection[str]) -> bool:
        if name in names:
            return True
        return name.endswith("1") and any(self._is_numbered(given, name[:-1]) for given in names)

    def _is_numbered(self, given: str, stem: str) -> bool:
        matched = NUMBERED.fullmatch(given)
        return self.numbered is not None and matched is not None and matched[1] == stem

    def canonical(self, name: str) -> str:
        """Returns the case-folded name of a column, its number without leading zeros."""
        matched = NUMBERED.fullmatch(name)
        if self.numbered is None or matched is None or matched[1] not in self.numbered:
            return name
        return f"{matched[1]}{int(matched[2])}"

    def meaning(self, name: str) -> str | None:
        """Returns the meaning of a column by its case-folded name; None: it is not read."""
        for column, meaning in self.columns.items():
            if column.casefold() == name:
                return meaning
        matched = NUMBERED.fullmatch(name)
        return self.numbered.get(matched[1]) if self.numbered and matched else None
