"""Describes formats of other systems: their columns, detection, and the meaning of rows."""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

from schemas.findings import Finding, finding

#: Cells of a row by the case-folded name of their column; empty ones are left out.
Cells = Mapping[str, str]

#: Meanings of columns.
LEARNER_COLUMN, EMAIL_COLUMN, COURSE_COLUMN, MODE_COLUMN, COHORT_COLUMN = (
    "learner",
    "email",
    "course",
    "mode",
    "cohort",
)
ROLE_COLUMN, STATUS_COLUMN = "role", "status"
#: Columns with these meanings are members of a request.
_MEMBERS = {
    LEARNER_COLUMN: "user",
    EMAIL_COLUMN: "email",
    COURSE_COLUMN: "course_id",
    MODE_COLUMN: "mode",
    COHORT_COLUMN: "cohort",
}

#: Rules that only rows of these formats can break.
ROLE_NOT_LEARNER = "role_not_learner"
NOT_A_REQUEST = "not_a_wish"
UNKNOWN_VALUE = "one_of"
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


class RowParser:
    """Collects the members of one request from a row, and the findings about it."""

    def __init__(self, cells: Cells) -> None:
        self.cells = cells
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
    ) -> None:
        """Sets `is_active` from a word; None stands for words that request no change."""
        word = self.cells.get(column)
        if word is None and default is not None:
            self._body["is_active"] = default
            return
        active = words.get((word or "").casefold(), word)
        if isinstance(active, bool):
            self._body["is_active"] = active
        elif word is None:
            self.report(column, "required")
        elif active is None:
            self.report(column, NOT_A_REQUEST, "this is neither an enrollment nor a withdrawal")
        else:
            self.report(column, UNKNOWN_VALUE, "known are " + ", ".join(words))

    def check_role(self, column: str, learners: Collection[str], *, is_required: bool) -> None:
        """Reports a role that is not a learner's."""
        role = self.cells.get(column)
        if role is None and is_required:
            self.report(column, "required")
        elif role is not None and role.casefold() not in learners:
            self.report(column, ROLE_NOT_LEARNER, "only learners are enrolled here")

    def report(self, column: str, rule: str, message: str | None = None) -> None:
        """Adds a finding on a column."""
        self._findings.append(finding(column, self.cells.get(column), rule, message))

    def intent(self, number: str | None = None) -> RowIntent:
        """Returns the collected request."""
        return RowIntent(self._body, self._columns, tuple(self._findings), number)


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
    #: Groups of case-folded columns: a header that has one of each group is of this format.
    identifying_columns: tuple[tuple[str, ...], ...]
    #: Case-folded names of columns that belong to the format, and are not read.
    other_columns: Collection[str] = frozenset()
    #: Groups of which a file of this format must have one as well.
    required_columns: tuple[tuple[str, ...], ...] = ()
    #: Values of the role's column that stand for a learner.
    learner_roles: Collection[str] = frozenset({"student"})
    is_role_required: bool = True
    #: Values of the status' column: enroll, withdraw, or (None) neither.
    statuses: Mapping[str, bool | None] | None = None
    #: The meaning of an empty status; None: a status is required.
    default_status: bool | None = None
    #: Reports errors of a row that the common checks do not find.
    check: Callable[[RowParser], None] | None = None
    #: Parses a row with several requests.
    parse_many: Callable[[Cells], Sequence[RowIntent]] | None = None
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
    #: Whether learners and courses have ids of another system.
    has_external_ids: bool = True

    def parse(self, cells: Cells) -> Sequence[RowIntent]:
        """Returns the requests of a row: one, or several of a row with numbered columns."""
        if self.parse_many is not None:
            return self.parse_many(cells)
        row = RowParser(cells)
        for member, columns in self._members:
            row.take(member, *columns)
        if self._role is not None:
            row.check_role(self._role, self.learner_roles, is_required=self.is_role_required)
        if self._status is not None and self.statuses is not None:
            row.take_status(self._status, self.statuses, default=self.default_status)
        if self.check is not None:
            self.check(row)
        return (row.intent(),)

    @cached_property
    def _members(self) -> Sequence[tuple[str, tuple[str, ...]]]:
        """Members of a request, and the columns that each is taken from."""
        columns_by_member = (
            (member, self._meaning(meaning)) for meaning, member in _MEMBERS.items()
        )
        return [(member, columns) for member, columns in columns_by_member if columns]

    @cached_property
    def _role(self) -> str | None:
        return next(iter(self._meaning(ROLE_COLUMN)), None)

    @cached_property
    def _status(self) -> str | None:
        return next(iter(self._meaning(STATUS_COLUMN)), None)

    def _meaning(self, meaning: str) -> tuple[str, ...]:
        return tuple(name.casefold() for name, means in self.columns.items() if means == meaning)

    def missing_groups(self, names: Collection[str]) -> list[str]:
        """Returns the groups of which a header has no column, in words."""
        groups = (*self.identifying_columns, *self.required_columns)
        return [
            " or ".join(group) for group in groups if not any(self._has(n, names) for n in group)
        ]

    def matches(self, names: Collection[str]) -> bool:
        """Returns whether a header has a column of every group of `marks`."""
        return all(
            any(self._has(name, names) for name in group) for group in self.identifying_columns
        )

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
