"""What a foreign format is: its columns, how a file of it is known, and what its rows ask for."""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from schemas.findings import Finding, finding

#: What the cells of a row hold by the name of their column, case-folded; empty ones are left out.
Cells = Mapping[str, str]

#: What a column is taken for.
LEARNER, EMAIL, COURSE, MODE, COHORT = "learner", "email", "course", "mode", "cohort"
ROLE, STATUS = "role", "status"

#: Rules that rows of foreign files can break, beside those of our own.
ROLE_NOT_LEARNER = "role_not_learner"
NOT_A_WISH = "not_a_wish"
UNKNOWN_WORD = "one_of"
NUMBERED = re.compile(r"([a-z]+)([0-9]{1,3})")


class Wish(NamedTuple):
    """What a row asks for one learner in one course, in the words of a body and in its own ids."""

    body: dict[str, Any]
    #: Columns of theirs behind members of the body.
    fields: Mapping[str, str]
    findings: tuple[Finding, ...] = ()
    #: Of a row that asks for more: the number of the columns that are its own.
    number: str | None = None


class Reading:
    """What is read out of one row, and what is found to be wrong with it."""

    def __init__(self, cells: Cells) -> None:
        self.cells = cells
        self._body: dict[str, Any] = {}
        self._fields: dict[str, str] = {}
        self._findings: list[Finding] = []

    def take(self, member: str, *columns: str) -> None:
        """Take a member of the body from the first of the columns that says something."""
        said = next((column for column in columns if column in self.cells), None)
        self._fields[member] = said or columns[0]
        if said is not None:
            self._body[member] = self.cells[said]

    def switch(
        self, column: str, words: Mapping[str, bool | None], *, default: bool | None = None
    ) -> None:
        """Enroll or withdraw, as a word says; None stands for words that ask for neither."""
        word = self.cells.get(column)
        if word is None and default is not None:
            self._body["is_active"] = default
            return
        meant = words.get((word or "").casefold(), word)
        if isinstance(meant, bool):
            self._body["is_active"] = meant
        elif word is None:
            self.blame(column, "required")
        elif meant is None:
            self.blame(column, NOT_A_WISH, "this asks neither to enroll nor to withdraw")
        else:
            self.blame(column, UNKNOWN_WORD, "known are " + ", ".join(words))

    def role(self, column: str, learners: Collection[str], *, may_be_absent: bool = False) -> None:
        """Only learners are enrolled here, and withdrawn."""
        role = self.cells.get(column)
        if role is None and not may_be_absent:
            self.blame(column, "required")
        elif role is not None and role.casefold() not in learners:
            self.blame(column, ROLE_NOT_LEARNER, "only learners are enrolled here")

    def blame(self, column: str, rule: str, message: str | None = None) -> None:
        """Note what is wrong with a column."""
        self._findings.append(finding(column, self.cells.get(column), rule, message))

    def wish(self, number: str | None = None) -> Wish:
        """All of it."""
        return Wish(self._body, self._fields, tuple(self._findings), number)


def _one(cells: Cells) -> int:
    return 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """A sort of file that other systems make."""

    name: str
    #: As people call it.
    title: str
    #: Columns that are read, as they are written, and what each is taken for.
    columns: Mapping[str, str]
    #: Of each group one column must be there: by these a file is known, case-folded.
    marks: tuple[tuple[str, ...], ...]
    read: Callable[[Cells], Sequence[Wish]]
    #: Groups of which a file must have one as well, once it is known.
    needs: tuple[tuple[str, ...], ...] = ()
    #: Columns with a number behind them, such as course1, and what they are taken for.
    numbered: Mapping[str, str] | None = None
    #: How many requests a row means.
    count: Callable[[Cells], int] = _one
    #: Whether a line is one of a file without a header.
    is_line: Callable[[Sequence[str]], bool] | None = None
    #: What is done to the cells of a row first.
    tidied: Callable[[Sequence[str]], Sequence[str]] | None = None
    #: Whether learners and courses have ids of another system.
    has_own_ids: bool = True

    def lacks(self, names: Collection[str]) -> list[str]:
        """Groups of which there is no column, in words."""
        groups = (*self.marks, *self.needs)
        return [
            " or ".join(group) for group in groups if not any(self._has(n, names) for n in group)
        ]

    def fits(self, names: Collection[str]) -> int | None:
        """How many marks a header has; None where one is missing."""
        found = sum(any(self._has(name, names) for name in group) for group in self.marks)
        return found if found == len(self.marks) else None

    def _has(self, name: str, names: Collection[str]) -> bool:
        if name in names:
            return True
        return name.endswith("1") and any(self._number_of(given, name[:-1]) for given in names)

    def _number_of(self, given: str, stem: str) -> bool:
        matched = NUMBERED.fullmatch(given)
        return self.numbered is not None and matched is not None and matched[1] == stem

    def settled(self, name: str) -> str:
        """The case-folded name of a column, its number without zeros in front."""
        matched = NUMBERED.fullmatch(name)
        if self.numbered is None or matched is None or matched[1] not in self.numbered:
            return name
        return f"{matched[1]}{int(matched[2])}"

    def meaning(self, name: str) -> str | None:
        """What a column is taken for, by its case-folded name; None: it is not read."""
        for column, meaning in self.columns.items():
            if column.casefold() == name:
                return meaning
        matched = NUMBERED.fullmatch(name)
        return self.numbered.get(matched[1]) if self.numbered and matched else None
