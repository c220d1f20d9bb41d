"""Report of an audit: what was checked, and the violations that were found."""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from enrollment.domain.audit.violations import Violation, ViolationKind

#: Violations that a report holds; more are only counted.
MAX_VIOLATIONS = 1_000
#: What is counted, in the order in which it is shown.
CHECKED = (
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
#: What counts as progress; `audit_submissions.estimate_rows` estimates the sum.
_ROWS = frozenset({"events", "enrollments", "requests"})


@dataclass(slots=True)
class Report:
    """Numbers of what was checked, and violations; `on_rows` is told how many rows were read."""

    on_rows: Callable[[int], object] | None = None
    checked: Counter[str] = field(default_factory=lambda: Counter(dict.fromkeys(CHECKED, 0)))
    #: How many violations of each kind.
    counts: Counter[ViolationKind] = field(default_factory=Counter)
    #: The first violations.
    violations: list[Violation] = field(default_factory=list)
    #: Facts that are no violations, but worth knowing.
    notes: list[str] = field(default_factory=list)

    def count(self, what: str, number: int = 1) -> None:
        """Adds to the number of what was checked."""
        self.checked[what] += number
        if self.on_rows is not None and what in _ROWS:
            self.on_rows(number)

    def add(self, violations: Iterable[Violation]) -> None:
        """Adds violations."""
        for violation in violations:
            self.counts[violation.kind] += 1
            if len(self.violations) < MAX_VIOLATIONS:
                self.violations.append(violation)

    @property
    def is_sound(self) -> bool:
        """Whether no violation was found."""
        return not self.counts
