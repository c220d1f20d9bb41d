"""Figures of the measures with their spread, as a table and as JSON."""

import operator
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any, NamedTuple

from rich.table import Table


class Figure(NamedTuple):
    """A figure measured in several runs; its value is their median."""

    name: str
    unit: str
    #: One value per run.
    values: Sequence[float] = ()
    #: Limits of the value; a figure without one is for information.
    at_least: float | None = None
    at_most: float | None = None
    below: float | None = None
    #: Medians of the two sides behind a ratio, or a note.
    ours: str = ""
    baseline: str = ""

    @property
    def value(self) -> float | None:
        """The median; None where nothing could be measured."""
        return median(self.values) if self.values else None

    @property
    def bar(self) -> str | None:
        """The limit as text, if there is one."""
        for sign, limit, _ in self._limits():
            if limit is not None:
                return f"{sign} {limit:g} {self.unit}"
        return None

    @property
    def holds(self) -> bool | None:
        """Whether the value is within the limit; None without a limit or a value."""
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
        """The minimum and the maximum of the runs."""
        return [min(self.values), max(self.values)] if self.values else None

    def as_json(self) -> dict[str, Any]:
        """Returns the figure in the form of `results.json`."""
        return {
            "name": self.name,
            "unit": self.unit,
            "value": self.value,
            "bar": self.bar,
            "holds": self.holds,
            "ours": self.ours,
            "theirs": self.baseline,
            "spread": self.spread,
        }


def rate(values: Sequence[float], unit: str) -> str:
    """Returns the median with its unit as text."""
    return f"{_number(median(values))} {unit}" if values else ""


def table_of(figures: Sequence[Figure], title: str) -> Table:
    """Returns a table with one figure per line."""
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
            figure.baseline,
        )
    return table


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
