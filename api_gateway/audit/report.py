"""Report of an audit: the numbers of checked rows, and the violations."""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from enrollment.domain.audit.violations import Violation, ViolationKind

#: Maximum number of violations that a report holds; more are only counted.
MAX_VIOLATIONS = 1_000
#: Names of the counters, in display order.
COUNTERS = (
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
#: Counters that make up the progress; `audit.submissions.estimate_rows` estimates their sum.
_PROGRESS_COUNTERS = frozenset({"events", "enrollments", "requests"})


@dataclass(slots=True)
class Report:
    """Counters and violations of an audit; calls `on_rows` with the number of rows just read."""

    on_rows: Callable[[int], object] | None = None
    checked: Counter[str] = field(default_factory=lambda: Counter(dict.fromkeys(COUNTERS, 0)))
    #: Number of violations by kind.
    counts: Counter[ViolationKind] = field(default_factory=Counter)
    #: The first `MAX_VIOLATIONS` violations.
    violations: list[Violation] = field(default_factory=list)
    #: Observations that are not violations.
    notes: list[str] = field(default_factory=list)

    def count(self, name: str, number: int = 1) -> None:
        """Adds to a counter, and reports progress."""
        self.checked[name] += number
        if self.on_rows is not None and name in _PROGRESS_COUNTERS:
            self.on_rows(number)

    def add(self, violations: Iterable[Violation]) -> None:
        """Counts violations, and keeps the first ones."""
        for violation in violations:
            self.counts[violation.kind] += 1
            if len(self.violations) < MAX_VIOLATIONS:
                self.violations.append(violation)

    @property
    def is_sound(self) -> bool:
        """Returns whether no violation was found."""
        return not self.counts
