"""Bars stay inside their plot, in order, and in proportion to their values."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api_gateway.console.plots import PLOT_HEIGHT, PLOT_WIDTH, plot_bars

VALUES = st.lists(st.floats(min_value=0, max_value=1e9), max_size=60)


@given(VALUES)
def test_bars_stay_inside_in_order(values):
    plot = plot_bars(values)

    assert [bar.value for bar in plot.bars] == values
    assert plot.top >= max(values, default=0)
    right = 0.0
    for bar in plot.bars:
        assert right <= bar.x
        right = bar.x + bar.width
        assert bar.y + bar.height == pytest.approx(PLOT_HEIGHT, abs=0.02)
        assert bar.height == pytest.approx(PLOT_HEIGHT * bar.value / plot.top, abs=0.01)
    assert right <= PLOT_WIDTH


@pytest.mark.parametrize(
    ("highest", "top"), [(0, 1), (0.2, 1), (1, 1), (1.1, 2), (3, 5), (11, 20), (50, 50), (51, 100)]
)
def test_the_upper_edge_is_a_round_number(highest, top):
    assert plot_bars([0, highest]).top == top
