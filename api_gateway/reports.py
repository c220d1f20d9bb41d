"""What verifying the records comes to: what was looked at, and what was found."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from api_gateway.timelines import Step
from enrollment.domain.auditing import Fault, Violation

#: Violations that a report holds; beyond that they are only counted.
KEPT = 1_000
#: What is counted, in the order in which it is shown.
LOOKED_AT = (
    "events",
    "enrollments",
    "courses",
    "files",
    "singles",
    "batches",
    "requests",
    "unanswered",
    "parked",
)


class Found(NamedTuple):
    """A violation and the story of what it is about, where that is told."""

    violation: Violation
    story: Sequence[Step] = ()


@dataclass(slots=True)
class Report:
    """What was looked at, and what was found."""

    #: How many of what.
    checked: Counter[str] = field(default_factory=lambda: Counter(dict.fromkeys(LOOKED_AT, 0)))
    #: How many violations of each sort.
    counts: Counter[Fault] = field(default_factory=Counter)
    #: The first of them.
    found: list[Found] = field(default_factory=list)
    #: What is no violation, but worth knowing.
    notes: list[str] = field(default_factory=list)

    def add(self, violations: Iterable[Violation]) -> None:
        """Note what was found."""
        for violation in violations:
            self.counts[violation.fault] += 1
            if len(self.found) < KEPT:
                self.found.append(Found(violation))

    @property
    def is_sound(self) -> bool:
        """Whether every promise holds."""
        return not self.counts

    @property
    def violations(self) -> list[Violation]:
        """The first violations."""
        return [one.violation for one in self.found]


class Progress:
    """Where it is told how far it is; this one tells nobody."""

    def begin(self, rows: int) -> None:
        """There are about so many rows."""

    def add(self, rows: int) -> None:
        """So many more were looked at."""
