"""How the benchmark tells two sets of times apart."""

import random

import pytest

from bench.privacy import AT_MOST, PAIRS, longer_share


@pytest.mark.parametrize(
    ("ours", "theirs", "share"),
    [
        ([1.0, 2.0], [1.0, 2.0], 0.5),
        ([3.0, 4.0], [1.0, 2.0], 1.0),
        ([1.0, 2.0], [3.0, 4.0], 0.0),
        ([2.0, 2.0], [1.0, 2.0], 0.75),
    ],
)
def test_the_share_of_pairs_in_which_one_takes_longer(ours, theirs, share):
    assert longer_share(ours, theirs) == share


def test_chance_stays_below_the_limit_and_a_small_shift_does_not():
    numbers = random.Random(7)

    def times(shift):
        return [numbers.lognormvariate(0, 0.1) + shift for _ in range(PAIRS)]

    assert abs(longer_share(times(0), times(0)) - 0.5) < AT_MOST
    assert abs(longer_share(times(0.03), times(0)) - 0.5) > AT_MOST
