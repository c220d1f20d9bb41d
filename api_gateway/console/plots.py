"""Plots as SVG: the places of their parts, from values."""

from collections.abc import Sequence
from typing import NamedTuple

#: Size of a plot, in units of its own; a page stretches it.
PLOT_WIDTH, PLOT_HEIGHT = 600, 120
#: The share of its place that a bar fills.
_FILLED = 0.8
_STEPS = (1, 2, 5)


class Bar(NamedTuple):
    """A bar of a plot, from the top left."""

    x: float
    y: float
    width: float
    height: float
    value: float


class Plot(NamedTuple):
    """Bars, and the value at the upper edge."""

    bars: list[Bar]
    top: int


def plot_bars(values: Sequence[float]) -> Plot:
    """Returns the bars of values of 0 or more, in their order."""
    top = _round_up(max(values, default=0))
    place = PLOT_WIDTH / max(len(values), 1)
    bars = []
    for number, value in enumerate(values):
        height = round(PLOT_HEIGHT * value / top, 2)
        x = round(place * (number + (1 - _FILLED) / 2), 2)
        bars.append(
            Bar(x, round(PLOT_HEIGHT - height, 2), round(place * _FILLED, 2), height, value)
        )
    return Plot(bars, top)


def _round_up(value: float) -> int:
    """Returns the next of 1, 2, 5, 10, 20, 50 …."""
    power = 1
    while True:
        for step in _STEPS:
            if step * power >= value:
                return step * power
        power *= 10
