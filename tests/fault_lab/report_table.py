"""Formats the table of a matrix run: rows and totals."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

COLUMNS = (
    ("fault", 5),
    ("database", 10),
    ("seed", 4),
    ("struck", 6),
    ("seen", 5),
    ("accepted", 8),
    ("p50 ms", 6),
    ("p99 ms", 7),
    ("back s", 6),
    ("wrong", 5),
    ("comes to", 10),
)


@dataclass(frozen=True, kw_only=True)
class Row:
    """The result of one run of one fault."""

    fault: str
    title: str
    database: str
    seed: int
    #: Number of injections, and of facts that prove an effect.
    injections: int = 0
    witnessed: int = 0
    accepted: int = 0
    p50: float | None = None
    p99: float | None = None
    #: Seconds from healing to the last outcome.
    recovery: float | None = None
    violations: Sequence[str] = field(default_factory=tuple)
    #: ok, violations, unknown, broken, or not here.
    result: str = "ok"
    doubts: Sequence[str] = field(default_factory=tuple)
    #: The folder with history and logs; empty if deleted.
    kept: str = ""
    seconds: float = 0.0

    @property
    def is_good(self) -> bool:
        """Returns whether it passed, or could not run on this machine."""
        return self.result in {"ok", "not here"}


def head() -> str:
    """Returns the header line."""
    return "  ".join(name.rjust(width) for name, width in COLUMNS) + "  what"


def line(row: Row) -> str:
    """Formats a row, with its violations and remarks below."""
    cells = (
        row.fault,
        row.database,
        row.seed,
        row.injections,
        row.witnessed,
        f"{row.accepted:,}",
        _thousandths(row.p50),
        _thousandths(row.p99),
        "" if row.recovery is None else f"{row.recovery:.1f}",
        len(row.violations),
        row.result,
    )
    pairs = zip(cells, COLUMNS, strict=True)
    text = "  ".join(str(cell).rjust(width) for cell, (_, width) in pairs)
    remarks = [*row.violations[:20], *row.doubts]
    if len(row.violations) > 20:
        remarks.append(f"… and {len(row.violations) - 20} more violations")
    if row.kept:
        remarks.append(f"kept in {row.kept}")
    return "\n".join([f"{text}  {row.title}", *(f"      {remark}" for remark in remarks)])


def _thousandths(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds * 1000:.0f}"


def totals(rows: Sequence[Row], seconds: float) -> str:
    """Formats the totals."""
    runs = [row for row in rows if row.result != "not here"]
    unseen = sorted({row.fault for row in runs if not row.witnessed})
    not_here = [row for row in rows if row.result == "not here"]
    accepted = sum(row.accepted for row in runs)
    faults = len({row.fault for row in runs})
    violations = sum(len(row.violations) for row in runs)
    bad = sum(not row.is_good for row in runs)
    minutes = f"{seconds / 60:.0f} minutes"
    lines = [
        f"{accepted:,} requests accepted in {len(runs)} runs of {faults} faults, {minutes}",
        f"{violations} violations, {bad} runs not good",
        f"faults without a witness: {', '.join(unseen) or 'none'}",
    ]
    lines += [f"not here: {row.fault} {row.database}: {_why(row)}" for row in not_here]
    return "\n".join(lines)


def _why(row: Row) -> str:
    return ", ".join([row.title, *row.doubts])


def as_json(rows: Sequence[Row], seconds: float) -> dict[str, object]:
    """Returns the report as JSON values."""
    return {"seconds": round(seconds, 1), "rows": [asdict(row) for row in rows]}
