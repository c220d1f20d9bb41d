"""After the commit: no failure of the queue comes through, and none costs more than it must."""

import pytest
from amqp.exceptions import MessageNacked, PreconditionFailed
from celery.exceptions import SoftTimeLimitExceeded
from kombu.exceptions import LimitExceeded, OperationalError
from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    OutOfMemoryError,
    ReadOnlyError,
    ResponseError,
    WatchError,
)

from enrollment.domain.codes import Lane
from enrollment.runtime.circuit_breaker import RETRY_INTERVAL
from enrollment.runtime.completion_channel import CompletionPublisher
from enrollment.storage.queue.batches import BatchRef
from worker.celery_app import make_celery_app
from worker.post_commit import PostCommitNotifier
from worker.processing.transaction import ProcessedBatches

NOWHERE = "redis://127.0.0.1:1/0"

ERRORS = [
    *(OperationalError("away"), OSError("away"), TimeoutError(), ConnectionResetError()),
    *(AuthenticationError("NOAUTH"), BusyLoadingError("LOADING"), ReadOnlyError("READONLY")),
    *(OutOfMemoryError("OOM"), ResponseError("WRONGTYPE"), ResponseError("MISCONF"), WatchError()),
    *(MessageNacked(), PreconditionFailed("406"), LimitExceeded(2)),
    *(KeyError("a library's slip"), AttributeError("another"), SoftTimeLimitExceeded()),
]


class Bench:
    """An announcer on a queue that fails when told; time passes when told."""

    def __init__(self):
        self.now = 100.0
        self.failure = None
        self.tried = []
        app = make_celery_app(NOWHERE)
        app.send_task = self.send_task
        self.bell = CompletionPublisher(NOWHERE, clock=lambda: self.now)
        self.notifier = PostCommitNotifier(app, self.bell, clock=lambda: self.now)

    def send_task(self, name, *, args, **said):
        self.tried.append(args[0])
        if self.failure is not None:
            raise self.failure

    def announce(self, *numbers):
        return [self.notifier.dispatch(BatchRef(number, Lane.BULK)) for number in numbers]


@pytest.fixture
def bench():
    return Bench()


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_no_error_of_the_queue_comes_through(bench, error):
    bench.failure = error

    assert bench.announce(1) == [False]


def test_a_queue_that_failed_is_left_alone_for_a_moment(bench):
    bench.failure = OperationalError("away")
    assert bench.announce(1, 2, 3) == [False] * 3
    assert bench.tried == [1]

    bench.failure = None
    bench.now += RETRY_INTERVAL

    assert bench.announce(4, 5) == [True, True]
    assert bench.tried == [1, 4, 5]


def test_the_length_of_a_queue_that_is_away_is_unknown(bench):
    assert bench.notifier.queue_length(Lane.BULK) is None
    bench.failure = OperationalError("away")
    assert bench.announce(1) == [False]
    assert bench.tried == []  # it was away a moment ago


def test_messages_are_counted_by_lane(redis_url):
    app = make_celery_app(redis_url)
    notifier = PostCommitNotifier(app, CompletionPublisher(redis_url))
    lanes = (Lane.INTERACTIVE, Lane.BULK)
    before = [notifier.queue_length(lane) for lane in lanes]

    for number in range(3):
        assert notifier.dispatch(BatchRef(number, Lane.BULK))

    after = [notifier.queue_length(lane) for lane in lanes]
    assert after == [before[0], before[1] + 3]


def test_telling_of_what_was_done_never_fails(bench):
    bench.failure = OperationalError("away")

    bench.notifier.notify(ProcessedBatches((1, 2), (), (BatchRef(3, Lane.BULK),)))
    bench.notifier.notify(ProcessedBatches())

    assert bench.tried == [3]


def test_a_bell_that_nobody_hears_rests(bench):
    assert not bench.bell.publish([1], [])
    assert not bench.bell.ping()


def test_a_bell_is_heard_where_redis_answers(redis_url):
    bell = CompletionPublisher(redis_url)

    assert bell.ping()
    assert bell.publish([1], [])
