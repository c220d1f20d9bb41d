"""Filters of webhooks, and the times of retries."""

from datetime import UTC, datetime
from itertools import pairwise

import pytest

from enrollment.domain.course_keys import is_course_filter
from enrollment.domain.retries import (
    JITTER,
    MAX_PAUSE_SECONDS,
    MAX_RETRY_AFTER,
    RETRY_SECONDS,
    endpoint_pause,
    parse_retry_after,
    retry_delay,
)

NOW = datetime(2026, 9, 1, 12, tzinfo=UTC)
DAY = 24 * 3_600


@pytest.mark.parametrize(
    ("text", "is_valid"),
    [
        ("course-v1:Uni+Algebra+2026", True),
        ("Uni/Algebra/2026", True),
        ("Uni+*", True),
        ("*", False),
        ("+*", False),
        ("Uni*", False),
        ("Uni+Algebra+*", False),
        ("", False),
    ],
)
def test_a_course_filter_is_a_key_or_an_organization(text, is_valid):
    assert is_course_filter(text) is is_valid


def test_retries_go_on_for_days_and_each_waits_no_shorter_than_the_one_before():
    assert all(first <= second for first, second in pairwise(RETRY_SECONDS))
    assert 3 * DAY < sum(RETRY_SECONDS) < 5 * DAY
    assert retry_delay(len(RETRY_SECONDS), random=0.5) == RETRY_SECONDS[-1]
    assert retry_delay(len(RETRY_SECONDS) + 1, random=0.5) is None


def test_delays_differ_at_random():
    for random, factor in ((0.0, 1 - JITTER), (0.5, 1.0), (1.0, 1 + JITTER)):
        assert retry_delay(1, random=random) == pytest.approx(RETRY_SECONDS[0] * factor)


def test_a_receiver_can_ask_for_a_longer_delay_only():
    assert retry_delay(1, random=0.5, retry_after=1) == RETRY_SECONDS[0]
    assert retry_delay(1, random=0.5, retry_after=100) == 100
    assert retry_delay(1, random=0.5, retry_after=10 * DAY) == MAX_RETRY_AFTER


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("120", 120),
        ("99999999999999999999", MAX_RETRY_AFTER),
        ("Tue, 01 Sep 2026 12:01:00 GMT", 60),
        ("Tue, 01 Sep 2026 11:00:00 GMT", 0),
        ("Fri, 01 Sep 2028 11:00:00 GMT", MAX_RETRY_AFTER),
        ("Tue, 01 Sep 2026 12:01:00 -0000", 0),
        ("soon", 0),
        ("-1", 0),
        ("\u0661", 0),
        ("", 0),
    ],
)
def test_retry_after_is_read(text, seconds):
    assert parse_retry_after({"retry-after": text}, NOW) == seconds


def test_an_endpoint_rests_longer_and_longer_but_never_for_long():
    pauses = [endpoint_pause(failures) for failures in range(20)]
    assert pauses[:4] == [0, 2, 4, 8]
    assert max(pauses) == MAX_PAUSE_SECONDS
