"""Draws figures as SVG."""

from collections.abc import Mapping
from math import log10
from pathlib import Path

import pygal  # type: ignore[import-untyped]

GROWTH = Path(__file__).with_name("growth.svg")


def draw(rates: Mapping[int, float], empty: float, path: Path = GROWTH) -> None:
    """Draws rows per second by the number of enrollments, on a logarithmic axis."""
    chart = pygal.XY(
        title="Rows a second through one worker",
        x_title="enrollments in the table",
        y_title="rows/s",
        js=[],  # pygal would load scripts from the network
        range=(0, 1.1 * max([empty, *rates.values()])),
        x_label_rotation=20,
        x_value_formatter=lambda power: f"{10**power:,.0f}",
        value_formatter=lambda rate: f"{rate:,.0f}",
        legend_at_bottom=True,
    )
    chart.x_labels = [log10(number) for number in rates]
    chart.add("with so many enrollments", [(log10(n), rate) for n, rate in rates.items()])
    chart.add("in an empty table", [(log10(n), empty) for n in rates])
    chart.render_to_file(str(path))
