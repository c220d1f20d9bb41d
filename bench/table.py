"""What measures come to: figures with their spread, shown as a table and kept as JSON."""

import operator
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any, NamedTuple

from rich.table import Table


class Figure(NamedTuple):
    """One thing measured in several runs; its value is the median of them."""

    name: str
    unit: str
    #: One value a run.
    values: Sequence[float] = ()
    #: What the value must reach, may come to, or stays below; one without is for information.
    at_least: float | None = None
    at_most: float | None = None
    below: float | None = None
    #: Medians of the two sides behind a ratio, or a note.
    ours: str = ""
    theirs: str = ""

    @property
    def value(self) -> float | None:
        """The median; None where nothing could be measured."""
        return median(self.values) if self.values else None

    @property
    def bar(self) -> str | None:
        """What was promised, in words."""
        for sign, limit, _ in self._limits():
            if limit is not None:
                return f"{sign} {limit:g} {self.unit}"
        return None

    @property
    def holds(self) -> bool | None:
        """Whether the promise is kept; None where there is none, or no measure."""
        value = self.value
        if value is None or self.bar is None:
            return None
        return all(holds(value, limit) for _, limit, holds in self._limits() if limit is not None)

    def _limits(self) -> Sequence[tuple[str, float | None, Callable[[float, float], bool]]]:
        return (
            (">=", self.at_least, operator.ge),
            ("<=", self.at_most, operator.le),
            ("<", self.below, operator.lt),
        )

    @property
    def spread(self) -> list[float] | None:
        """The least and the greatest of the runs."""
        return [min(self.values), max(self.values)] if self.values else None

    def as_json(self) -> dict[str, Any]:
        """The figure as ``results.json`` keeps it."""
        return {
            "name": self.name,
            "unit": self.unit,
            "value": self.value,
            "bar": self.bar,
            "holds": self.holds,
            "ours": self.ours,
            "theirs": self.theirs,
            "spread": self.spread,
        }


def rate(values: Sequence[float], unit: str) -> str:
    """The median of a side, for people."""
    return f"{_number(median(values))} {unit}" if values else ""


def table_of(figures: Sequence[Figure], title: str) -> Table:
    """The figures, one a line."""
    table = Table(title=title)
    for heading in ("measure", "median", "min..max", "bar", "holds", "ours", "baseline"):
        table.add_column(heading, justify="right" if heading in {"median", "min..max"} else "left")
    for figure in figures:
        table.add_row(
            figure.name,
            "skipped" if figure.value is None else f"{_number(figure.value)} {figure.unit}",
            "" if figure.spread is None else "..".join(map(_number, figure.spread)),
            figure.bar or "",
            {True: "[green]yes", False: "[red]NO", None: ""}[figure.holds],
            figure.ours,
            figure.theirs,
        )
    return table


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
