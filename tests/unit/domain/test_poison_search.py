"""The search finds the poison request, also while attempts fail for other reasons."""

import json
from datetime import UTC, datetime
from itertools import count
from math import ceil, log2
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enrollment.domain.poison_search import (
    FAILURES_BEFORE_SEARCH,
    FAILURES_TO_BLAME,
    FAILURES_TO_PARK,
    MAX_FAILED_ATTEMPTS,
    MAX_POISONOUS,
    MAX_TIMEOUTS,
    PASSES_TO_BLAME,
    FailureSearch,
    failure_search_of,
)

NOW = datetime(2026, 11, 23, tzinfo=UTC)


def worked(total, fails):
    """Attempts a batch until it is completed or parked; `fails(places)` decides each attempt."""
    known = FailureSearch()
    for _ in range(2 * MAX_FAILED_ATTEMPTS):
        if known.should_park:
            return known, False
        known = stored(known.start_attempt(NOW))
        beginning = [p for p in range(known.next_prefix(total)) if p not in known.poisonous]
        if fails(beginning):
            known = stored(known.record_failure(total))
        elif known.is_search:
            known = stored(known.record_success(total))
        else:
            return known, True
    raise AssertionError(f"no end is in sight: {known}")


def stored(known):
    """Returns the value after it was stored and loaded."""
    again = failure_search_of(json.loads(json.dumps(known.as_json())), known.attempts)
    assert again == known
    return known


@st.composite
def batches(draw, poisonous):
    total = draw(st.integers(1, 1_200))
    places = st.sets(st.integers(0, total - 1), max_size=poisonous)
    return total, draw(places)


@given(batches(MAX_POISONOUS))
def test_up_to_three_poisonous_requests_are_found_and_the_rest_is_answered(batch):
    total, poison = batch

    known, completed = worked(total, lambda places: not poison.isdisjoint(places))

    assert completed
    assert set(known.poisonous) == poison


@given(batches(MAX_POISONOUS))
def test_finding_one_takes_as_many_tries_as_halving_does(batch):
    total, poison = batch
    halvings = ceil(log2(total + 1)) + 1

    known, _ = worked(total, lambda places: not poison.isdisjoint(places))

    assert known.attempts <= 1 + len(poison) * (
        FAILURES_BEFORE_SEARCH + halvings + FAILURES_TO_BLAME + PASSES_TO_BLAME
    )


@given(st.integers(MAX_POISONOUS + 1, 50), st.data())
def test_with_more_than_three_the_fault_is_ours(total, data):
    number = st.integers(MAX_POISONOUS + 1, total)
    places = st.integers(0, total - 1)
    poison = data.draw(number.flatmap(lambda n: st.sets(places, min_size=n, max_size=n)))

    known, completed = worked(total, lambda places: not poison.isdisjoint(places))

    assert not completed
    assert set(known.poisonous) <= poison


@given(st.integers(1, 1_200))
def test_where_not_even_none_of_them_passes_no_request_is_to_blame(total):
    known, completed = worked(total, lambda places: True)

    assert not completed
    assert known.is_ours
    assert known.poisonous == ()
    assert known.attempts == FAILURES_BEFORE_SEARCH + FAILURES_TO_PARK


@pytest.mark.parametrize("deaths", range(12))
@given(st.integers(1, 1_200))
def test_workers_that_die_in_a_row_for_reasons_of_their_host_do_not_park_a_batch(deaths, total):
    earlier = count()

    known, completed = worked(total, lambda places: next(earlier) < deaths)

    assert completed
    assert known.poisonous == ()


@given(st.integers(2, 300), st.data())
def test_requests_that_fail_only_together_cost_the_later_one(total, data):
    first, second = sorted(data.draw(st.sets(st.integers(0, total - 1), min_size=2, max_size=2)))

    known, completed = worked(total, lambda places: {first, second} <= set(places))

    assert completed
    assert known.poisonous == (second,)


@pytest.mark.parametrize("seed", range(300))
def test_workers_that_die_by_chance_never_cost_a_request(seed):
    chance = Random(seed)
    total = chance.randint(1, 1_000)

    known, completed = worked(total, lambda places: chance.random() < 0.05)

    assert completed
    assert known.poisonous == ()


@pytest.mark.parametrize("seed", range(200))
def test_poison_is_found_though_workers_die_by_chance(seed):
    chance = Random(seed)
    total = chance.randint(1, 1_000)
    poison = chance.randrange(total)

    known, completed = worked(total, lambda places: poison in places or chance.random() < 0.03)

    assert completed
    assert known.poisonous == (poison,)


@pytest.mark.parametrize("total", [1, 1_000])
def test_where_half_of_all_attempts_fail_by_chance_hardly_any_batch_is_blamed_or_parked(total):
    chance = Random(total)
    batches_tried = 1_000

    ends = [worked(total, lambda places: chance.random() < 0.5) for _ in range(batches_tried)]

    assert sum(bool(known.poisonous) for known, _ in ends) < batches_tried / 100
    assert sum(not completed for _, completed in ends) < batches_tried / 100


def test_a_suspected_request_is_cleared_once_the_prefix_without_it_fails_too():
    suspecting = attempted(FailureSearch(), 1, [False, False, True, False, False])
    assert (suspecting.poisonous, suspecting.next_prefix(1)) == ((), 0)
    nearly = attempted(suspecting, 1, [True] * (PASSES_TO_BLAME - 1))
    assert (nearly.poisonous, nearly.next_prefix(1)) == ((), 0)

    assert attempted(nearly, 1, [True]).poisonous == (0,)
    cleared = attempted(nearly, 1, [False])
    assert (cleared.poisonous, cleared.next_prefix(1), cleared.is_search) == ((), 1, True)
    assert attempted(cleared, 1, [True]).is_search is False
    again = attempted(cleared, 1, [False, False])
    assert attempted(again, 1, [True] * (PASSES_TO_BLAME - 1)).poisonous == ()


def attempted(known, total, passes):
    """Returns the search after attempts that pass or fail."""
    for passed in passes:
        begun = stored(known.start_attempt(NOW))
        known = begun.record_success(total) if passed else begun.record_failure(total)
    return known


def test_what_comes_and_goes_is_given_up_in_the_end():
    turns = iter([True, True, False] * MAX_FAILED_ATTEMPTS)

    known, completed = worked(1, lambda places: bool(places) and next(turns))

    assert completed or known.should_park


def test_a_try_that_says_nothing_about_the_batch_is_not_counted():
    known = FailureSearch(attempts=3, failures=1)

    assert known.start_attempt(NOW).cancel_attempt() == known
    assert known.cancel_attempt() == known


def test_a_failure_is_counted_once_whether_its_beginning_was_noted_or_not():
    assert FailureSearch().record_failure(10) == (
        FailureSearch().start_attempt(NOW).record_failure(10)
    )


def test_the_empty_prefix_is_tried_first():
    known = FailureSearch().record_failure(10).record_failure(10)

    assert (known.is_search, known.next_prefix(10)) == (True, 0)
    assert known.record_success(10).next_prefix(10) == 5


def test_an_attempt_that_ran_out_of_time_blames_nobody_and_counts_for_parking_only():
    known = FailureSearch(attempts=3, failures=1)

    after = known.start_attempt(NOW).record_timeout()

    assert after == FailureSearch(attempts=3, failures=1, timeouts=1)
    assert not after.should_park
    assert FailureSearch(timeouts=MAX_TIMEOUTS).should_park


def test_what_another_release_knew_is_read_past():
    stored = {**FailureSearch(failures=1).as_json(), "mood": "bad"}

    assert failure_search_of(stored, 4) == FailureSearch(failures=1, attempts=4)


def test_where_nothing_is_kept_nothing_is_known():
    assert failure_search_of(None, 0) is None
