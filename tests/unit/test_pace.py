"""Messages wait while files are processed, but not for long."""

import pytest

from worker.background.pace import LONGEST_REST, MAX_AGE_SECONDS, REST_FACTOR, Pace


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def rest_after(spent, age, *, busy):
    clock = Clock()
    pace = Pace(lambda: busy, clock)
    with pace.step():
        clock.now += spent
    return pace.rest(age)


@pytest.mark.parametrize(
    ("spent", "age", "busy", "rest"),
    [
        (0.02, 0.0, True, 0.02 * REST_FACTOR),
        (5.0, 0.0, True, LONGEST_REST),
        (0.02, MAX_AGE_SECONDS, True, 0.0),
        (0.02, MAX_AGE_SECONDS - 1, True, 0.02 * REST_FACTOR),
        (0.02, 0.0, False, 0.0),
        (0.0, 0.0, True, 0.0),
    ],
)
def test_a_step_is_followed_by_a_rest(spent, age, busy, rest):
    assert rest_after(spent, age, busy=busy) == pytest.approx(rest)
