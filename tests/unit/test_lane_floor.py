"""The rule of the floor: no batch waits for a search longer than a second because of it."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from enrollment.storage.queue.lane_floor import FULL_SEARCH_INTERVAL, MARGIN, LaneFloor

START = datetime(2026, 9, 1, 12, tzinfo=UTC)
HOUR = 3_600


@dataclass(eq=False)
class Batch:
    """A batch that waits; None: it is locked, parked or not committed yet."""

    waiting_since: datetime
    claimable_since: float | None


@dataclass
class Lane:
    """A lane with its batches; `now` is the monotonic clock, `offset` that of the database."""

    now: float = 0.0
    offset: float = 0.0
    batches: list[Batch] = field(default_factory=list)
    full_searches: list[float] = field(default_factory=list)

    def __post_init__(self):
        self.floor = LaneFloor(lambda: self.now)

    def database_now(self):
        return START + timedelta(seconds=self.now + self.offset)

    def add(self, age, *, claimable=True):
        since = self.database_now() - timedelta(seconds=age)
        self.batches.append(Batch(since, self.now if claimable else None))
        return self.batches[-1]

    def search(self, including=None):
        """Returns what a search finds, as `claim_lane` does."""
        since = self.floor.search_start(including and including.waiting_since)
        found = [
            batch
            for batch in sorted(self.batches, key=lambda one: one.waiting_since)
            if batch.claimable_since is not None and (since is None or batch.waiting_since >= since)
        ]
        if since is None:
            self.full_searches.append(self.now)
            oldest = found[0].waiting_since if found else self.database_now()
            self.floor.record_full_search(oldest)
        return found


seconds = st.floats(0, 3, allow_nan=False)
picks = st.integers(0, 9)
#: Around the margin, and far from it.
ages = st.sampled_from([0.0, 9.0, 11.0, 20.0, HOUR, -HOUR])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), ages),
        st.tuples(st.just("search"), st.none()),
        st.tuples(st.just("message"), picks),
        st.tuples(st.just("pass"), seconds),
        st.tuples(st.sampled_from(["hide", "show", "complete"]), picks),
        st.tuples(st.just("shift"), st.floats(-HOUR, HOUR)),
    ),
    max_size=40,
)


def picked(lane, number):
    return lane.batches[number % len(lane.batches)] if lane.batches else None


def assert_finds_what_waits(lane, found, *, including=None):
    """Whatever a search could have claimed for a second is found, and the batch of a message."""
    for batch in lane.batches:
        since = batch.claimable_since
        if since is not None and since <= lane.now - FULL_SEARCH_INTERVAL:
            assert batch in found
    if including is not None and including.claimable_since is not None:
        assert including in found


def take(lane, kind, value):
    match kind:
        case "add":
            lane.add(value)
        case "pass":
            lane.now += value
        case "shift":  # the database's clock is set, or another server takes over
            lane.offset += value
        case "search":
            assert_finds_what_waits(lane, lane.search())
        case _ if (batch := picked(lane, value)) is not None:
            take_with_batch(lane, kind, batch)


def take_with_batch(lane, kind, batch):
    match kind:
        case "hide":
            batch.claimable_since = None
        case "show" if batch.claimable_since is None:
            batch.claimable_since = lane.now
        case "complete":
            lane.batches.remove(batch)
        case "message":
            found = lane.search(batch)
            assert_finds_what_waits(lane, found, including=batch)


@settings(max_examples=400)
@given(STEPS)
def test_a_search_finds_what_was_claimable_for_a_second_and_the_batch_of_its_message(steps):
    """Also with clocks that are set, old batches that are released, and locked rows."""
    lane = Lane()
    for kind, value in steps:
        take(lane, kind, value)


@given(
    st.lists(st.one_of(st.floats(0, MARGIN.total_seconds()), st.none()), max_size=30),
    st.lists(seconds, min_size=30, max_size=30),
)
def test_a_batch_that_commits_within_the_margin_is_found_by_every_search(ages, pauses):
    """While the clock runs on; None: the oldest batch is completed."""
    lane = Lane()
    for age, pause in zip(ages, pauses, strict=False):
        if age is not None:
            lane.add(age)
        elif lane.batches:
            lane.batches.remove(min(lane.batches, key=lambda one: one.waiting_since))
        found = lane.search()
        assert len(found) == len(lane.batches)
        lane.now += pause


@given(st.lists(seconds, max_size=50))
def test_full_searches_are_a_second_apart_and_no_more(pauses):
    lane = Lane()
    for pause in pauses:
        lane.now += pause
        lane.search()

    starts = lane.full_searches
    assert all(b - a >= FULL_SEARCH_INTERVAL for a, b in pairwise(starts))
    assert not pauses or lane.now - starts[-1] < FULL_SEARCH_INTERVAL


def test_a_search_that_failed_is_repeated_as_a_full_one():
    lane = Lane()
    lane.search()
    lane.now = FULL_SEARCH_INTERVAL

    assert lane.floor.search_start() is None
    assert lane.floor.search_start() is None


def test_a_released_batch_is_below_the_floor_for_a_second_unless_its_message_comes():
    lane = Lane()
    lane.search()
    old = lane.add(HOUR)

    assert lane.search() == []
    assert lane.search(old) == [old]
    assert lane.search() == []  # the floor itself stays
    lane.now = FULL_SEARCH_INTERVAL
    assert lane.search() == [old]
    assert lane.search() == [old]
