"""One worker and its queue: nobody waits for the whole of somebody else's file."""

from collections import deque

import pytest

from enrollment.domain.codes import Lane
from enrollment.runtime.broker import QUEUE_BY_LANE
from enrollment.storage.queue.batches import BatchRef
from tests.support.in_process_service import ADMIN, SERVER, request, row
from worker.processing.processor import TURN_BATCHES

#: Batches that one transaction processes.
BATCHES_PER_TRANSACTION = 4
#: Batches of a file that is huge beside what a turn may take.
HUGE = 3 * TURN_BATCHES


class OneWorker:
    """Takes messages as a worker does: one at a time, from the first lane that has any.

    What happens at a moment is told by the number of batches that were answered before it.
    """

    def __init__(self, world):
        self._world = world
        self._messages = {name: deque() for name in sorted(QUEUE_BY_LANE.values())}
        #: Ids of batches in the order in which they were answered.
        self.answered = []
        self._plans = {}

    def at(self, answered, happens):
        """Something happens once so many batches are answered, in the midst of the work."""
        self._plans[answered] = happens

    def ring(self):
        """Put the gateway's rings on the queue."""
        while self._world.dispatcher._inbox.qsize():
            waiting = self._world.dispatcher._inbox.get_nowait()
            self._messages[QUEUE_BY_LANE[waiting.lane]].append(waiting.id)

    def run(self):
        """Work until nothing waits."""
        self.ring()
        while queue := next((it for it in self._messages.values() if it), None):
            for done in self._world.processor.process_in_turn(queue.popleft()):
                self.answered += done.batch_ids
                for waiting in done.next:
                    self._messages[QUEUE_BY_LANE[waiting.lane]].append(waiting.id)
                self._plans.pop(len(self.answered), lambda: None)()
                self.ring()

    def place(self, submission_id):
        """How many batches were answered before the last one of a submission."""
        return max(self.answered.index(number) for number in self._world.batch_ids(submission_id))


@pytest.fixture
def worker(world, monkeypatch):
    """A worker who is quick enough for turns to end by the number of batches alone."""
    monkeypatch.setattr("worker.processing.processor.TURN_SECONDS", 3_600.0)
    world.batch_rows = 1
    world.rows_at_a_time(BATCHES_PER_TRANSACTION)
    world.course()
    return OneWorker(world)


def rows(number, name):
    return [row(f"{name}{n}") for n in range(number)]


def ask_one(world):
    """Hand in a single, and ring for it as the gateway does."""
    (submission_id,) = world.ask(request("ada"))
    world.dispatcher.dispatch(BatchRef(world.batch_ids(submission_id)[0], Lane.INTERACTIVE))
    return submission_id


@pytest.mark.parametrize(
    "moment", [BATCHES_PER_TRANSACTION, TURN_BATCHES, TURN_BATCHES + BATCHES_PER_TRANSACTION]
)
def test_a_single_waits_for_one_transaction_of_a_huge_file_at_most(world, worker, moment):
    huge = world.send(rows(HUGE, "huge"))
    singles = []
    worker.at(moment, lambda: singles.append(ask_one(world)))
    worker.run()
    assert worker.place(singles[0]) <= moment + BATCHES_PER_TRANSACTION
    assert worker.place(huge) == HUGE
    world.check()


@pytest.mark.parametrize("small", [1, 3])
def test_a_small_file_waits_for_one_turn_of_a_huge_one(world, worker, small):
    huge = world.send(rows(HUGE, "huge"), caller=ADMIN)
    others = []
    worker.at(
        BATCHES_PER_TRANSACTION,
        lambda: others.append(world.send(rows(small, "small"), caller=SERVER)),
    )
    worker.run()
    assert worker.place(others[0]) <= BATCHES_PER_TRANSACTION + TURN_BATCHES + small
    assert worker.place(huge) == HUGE + small - 1


def test_files_take_turns_whoever_was_first(world, worker):
    files = [world.send(rows(2 * TURN_BATCHES, name)) for name in ("a", "b", "c")]
    worker.run()
    owner = {number: file for file in files for number in world.batch_ids(file)}
    turns = [owner[number] for number in worker.answered]
    rounds = [turns[at] for at in range(0, len(turns), TURN_BATCHES)]
    assert rounds == files * 2
    assert all(
        len(set(turns[at : at + TURN_BATCHES])) == 1 for at in range(0, len(turns), TURN_BATCHES)
    )


def test_a_file_in_the_interactive_lane_lets_singles_in_after_every_batch(world, worker):
    file = world.send(rows(TURN_BATCHES, "small"), lane=Lane.INTERACTIVE)
    singles = []
    worker.at(2, lambda: singles.append(ask_one(world)))
    worker.run()
    assert worker.place(singles[0]) <= 3
    assert world.submission(file).pending == 0
