"""A slice of deliveries keeps the rate of its destination, on a clock of the test."""

import threading
from collections import deque

import pytest

from enrollment.domain.destinations.records import ApplyResult, Destination
from tests.support.scripted_destination import ARRIVED, ScriptedKind
from worker.destinations.send_slice import DESTINATION_SLICE_SECONDS, SendSlice


class SlowClient(ScriptedKind):
    """A client whose attempts take some seconds each, one after the other."""

    def __init__(self, seconds):
        super().__init__(else_=self._answer)
        self.now, self.seconds, self.starts = 100.0, list(seconds), []

    def wait(self, seconds):
        self.now += seconds

    def _answer(self, _):
        self.starts.append(self.now - 100.0)
        self.now += self.seconds.pop(0) if self.seconds else 0.0
        return ARRIVED


def slice_of(client, number, rate):
    destination = Destination(
        "lms", "openedx", "", frozenset(), 1, rate, is_paused=False, pull_courses_every=None
    )
    return SendSlice(
        destination=destination,
        client=client,
        due=deque([Due(n) for n in range(number)]),
        stopped=threading.Event(),
        monotonic=lambda: client.now,
        wait=client.wait,
    )


class Due:
    """A state that is due."""

    def __init__(self, n):
        self.state = self
        self.course_id, self.username = "c", f"learner{n}"


@pytest.mark.parametrize(
    ("rate", "seconds", "starts"),
    [
        (None, [], [0.0, 0.0, 0.0, 0.0]),
        (2.0, [], [0.0, 0.5, 1.0, 1.5]),
        (2.0, [1.25], [0.0, 1.25, 1.75, 2.25]),  # no burst after a late one
        (0.25, [], [0.0, 4.0]),
        (0.1, [], [0.0]),
        (None, [3.0, 3.0], [0.0, 3.0]),
    ],
)
def test_attempts_begin_no_faster_than_the_rate(rate, seconds, starts):
    client = SlowClient(seconds)
    send = slice_of(client, 4, rate)
    assert len(send.run()) == len(starts)
    assert client.starts == starts
    if rate is not None:
        assert send.next_slot == pytest.approx(starts[-1] + 1 / rate)
    assert max(starts) < DESTINATION_SLICE_SECONDS


def test_a_failure_ends_the_slice_and_so_does_the_end_of_the_process():
    client = SlowClient([])
    client.answers = [ARRIVED, ApplyResult(503, "", "refused")]
    assert len(slice_of(client, 4, None).run()) == 2
    send = slice_of(client, 4, None)
    send.stopped.set()
    assert send.run() == []
