"""Generates load on a running service: sends, repeats until the result is known, reads, records."""

import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Self

from tests.fault_lab.history import History, Op, Phase
from tests.fault_lab.load.client import Client, SentRequest
from tests.fault_lab.load.shared_submissions import SharedSubmissions
from tests.fault_lab.load.workload import Mix, WorkloadGenerator

#: Seconds before a request with an unknown result is repeated.
AGAIN_AFTER = 0.1
#: Clients that poll after the last new request.
LAST_LOOKERS = 3
#: Clients that repeat requests with an unknown result.
PERSISTENT = 2
#: Seconds within which the service must accept a course.
COURSE_SECONDS = 60.0
#: Additional seconds for reading the feed to its end.
LAST_PAGE_SECONDS = 5.0


class Load:
    """Runs clients in threads: sends until stopped, then repeats until every result is known.

    ``with Load(urls, key, history, seed, run="f1") as load: load.run(8.0)``, or prepare(), start()
    and stop(); after all faults are healed, settle().
    """

    def __init__(
        self,
        urls: Sequence[str],
        key: str,
        history: History,
        seed: int,
        *,
        run: str = "run",
        mix: Mix | None = None,
        since: int = 0,
    ) -> None:
        """``since`` is the feed position at the start."""
        self.mix = mix or Mix()
        self._urls, self._key, self._history = urls, key, history
        self._seed, self._run, self._since = seed, run, since
        self._board = SharedSubmissions()
        self._stopping = threading.Event()
        self._closing = threading.Event()
        self._threads: list[threading.Thread] = []
        self.failures: list[BaseException] = []
        wishes = self._wishes("courses")
        self.courses, self.scarce = wishes.courses, wishes.scarce

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def accepted_items(self) -> int:
        """Returns the requests in submissions that were answered 202."""
        return self._board.accepted_items

    @property
    def accepted(self) -> int:
        """Returns the submissions that were answered 202."""
        return self._board.accepted

    def asker(self, name: str) -> Client:
        """Returns another client; the caller closes it."""
        name = f"{self._run}-{name}"
        timeout = self.mix.timeout
        return Client(
            self._urls, self._key, self._history, name=name, seed=self._seed, timeout=timeout
        )

    def watch(self, asked: SentRequest) -> SentRequest:
        """Adds a request of another client, to be repeated, polled and counted with the rest."""
        self._board.file_in(asked)
        return asked

    def prepare(self) -> None:
        """Creates the courses."""
        with self.asker("courses") as asker:
            for course_id in self.courses:
                self._insist(lambda one=course_id: asker.course(one))
            for course_id in self.scarce:
                self._insist(lambda one=course_id: asker.course(one, capacity=self.mix.seats))

    def start(self) -> None:
        """Starts all clients."""
        mix = self.mix
        for number in range(mix.single_clients):
            self._begin(self._ask_singles, f"single{number}")
        for number in range(mix.file_clients):
            self._begin(self._ask_files, f"file{number}")
        for number in range(mix.lookers):
            self._begin(self._look, f"looker{number}")
        for number in range(mix.feed_readers):
            self._begin(self._read_feed, f"reader{number}")
        for number in range(PERSISTENT):
            self._begin(self._ask_again, f"again{number}")

    def stop(self) -> None:
        """Stops new requests; unknown results are still repeated."""
        self._stopping.set()

    def run(self, seconds: float) -> None:
        """Prepares, starts, waits for some seconds, stops."""
        self.prepare()
        self.start()
        self._closing.wait(seconds)
        self.stop()

    def settle(self, seconds: float) -> bool:
        """After healing, waits until all results are known and processed, and reads the feed to its
        end; returns whether that was in time.
        """
        self.stop()
        deadline = time.monotonic() + seconds
        in_time = _until(lambda: self._board.is_all_known, deadline)
        for number in range(LAST_LOOKERS):
            self._begin(self._look_last, f"last{number}")
        in_time = _until(lambda: not self._board.waiting(), deadline) and in_time
        with self.asker("end") as asker:
            self._read_to_the_end(asker, deadline)
        self._history.write(Op.NOTE, Phase.OK, client="load", what="settled", in_time=in_time)
        self.close()
        return in_time

    def close(self) -> None:
        """Ends all threads and connections; raises the error of a client that failed."""
        self.stop()
        self._closing.set()
        for thread in self._threads:
            thread.join()
        self._threads.clear()
        if self.failures:
            raise self.failures.pop()

    # --- clients --------------------------------------------------------------------------

    def _begin(self, what: Callable[[Client], None], name: str) -> None:
        def live() -> None:
            try:
                with self.asker(name) as asker:
                    what(asker)
            except Exception as error:  # noqa: BLE001 (close() raises it)
                self.failures.append(error)
                self._stopping.set()

        thread = threading.Thread(target=live, name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _wishes(self, name: str) -> WorkloadGenerator:
        return WorkloadGenerator(self.mix, self._run, random.Random(f"{self._seed} {name} wishes"))

    def _ask_singles(self, asker: Client) -> None:
        mix, wishes = self.mix, self._wishes(asker.name)
        for _ in self._paced(mix.singles / mix.single_clients, self._stopping):
            pick = asker.random.random()
            is_old = pick < mix.repeats + mix.reuses
            known = self._board.any_accepted(asker.random) if is_old else None
            if known is not None and pick < mix.repeats:
                asker.ask(known)
            elif known is not None:
                asker.reuse(known, known.wishes[0]._replace(user="somebody-else"))
            else:
                with self._board.under_way():
                    self._board.file_in(asker.single(wishes.single()))

    def _ask_files(self, asker: Client) -> None:
        mix, wishes = self.mix, self._wishes(asker.name)
        for number in self._paced(mix.files / mix.file_clients, self._stopping):
            with self._board.under_way():
                self._board.file_in(asker.file(wishes.file(f"{asker.name}-{number}")))

    def _ask_again(self, asker: Client) -> None:
        """Repeats requests with unknown results, with the same key and body."""
        while not self._closing.is_set():
            with self._board.under_way():
                asked = self._board.unknown()
                if asked is not None:
                    self._board.file_in(asker.ask(asked))
            if asked is None or not asked.is_known:
                self._closing.wait(AGAIN_AFTER)

    def _look(self, asker: Client) -> None:
        for _ in self._paced(self.mix.looks / self.mix.lookers, self._stopping):
            waiting = self._board.waiting()
            if waiting:
                # Mostly the oldest, so that all are seen once; sometimes any, to see progress.
                some = waiting[:4] if asker.random.random() < 0.7 else waiting
                self._look_at(asker, asker.random.choice(some), curiosity=0.2)

    def _look_last(self, asker: Client) -> None:
        """Polls until every submission is done."""
        while not self._closing.is_set():
            waiting = self._board.waiting()
            asker.random.shuffle(waiting)
            for asked in waiting[:20]:
                if self._closing.is_set():
                    return
                if not asked.is_done:
                    self._look_at(asker, asked, curiosity=0.1)
            self._closing.wait(0.01 if waiting else AGAIN_AFTER)

    def _look_at(self, asker: Client, asked: SentRequest, *, curiosity: float) -> None:
        was_done = asked.is_done
        shown = asker.status(asked)
        is_news = asked.is_done and not was_done
        if is_news:
            self._board.file_in(asked)
        is_curious = shown is not None and asker.random.random() < curiosity
        if asked.op is Op.FILE and (is_news or is_curious):
            limit = asker.random.choice([100, 1_000])
            page = asker.outcomes(asked, limit=limit)
            if page and page["next"] is not None:
                asker.outcomes(asked, cursor=page["next"], limit=limit)
        if asked.is_done and is_curious:
            asker.enrollment(asked, asker.random.choice(asked.wishes))

    def _read_feed(self, asker: Client) -> None:
        """Follows the feed; sometimes goes back to an earlier position, on another connection."""
        place = self._since
        for _ in self._paced(5.0, self._closing):
            if asker.random.random() < 0.1:
                place = asker.random.randint(max(self._since, place - 2_000), place)
            after = asker.feed(place, limit=asker.random.choice([7, 100, 1_000, 1_000]))
            place = place if after is None else after

    def _read_to_the_end(self, asker: Client, deadline: float) -> None:
        place = self._since
        while time.monotonic() < deadline + LAST_PAGE_SECONDS and not self._closing.is_set():
            after = asker.feed(place)
            if after == place:
                return
            place = place if after is None else after

    def _insist(self, done: Callable[[], bool]) -> None:
        deadline = time.monotonic() + COURSE_SECONDS
        while not done():
            if time.monotonic() > deadline:
                message = "the service did not take a course"
                raise RuntimeError(message)
            self._closing.wait(AGAIN_AFTER)

    def _paced(self, per_second: float, until: threading.Event) -> Iterator[int]:
        """Yields at most so many times a second; missed turns are not made up."""
        number, next_at = 0, time.monotonic()
        while per_second > 0 and not until.is_set():
            pause = next_at - time.monotonic()
            if pause > 0 and until.wait(pause):
                return
            next_at = max(next_at + 1 / per_second, time.monotonic() - 1.0)
            yield number
            number += 1


def _until(true: Callable[[], bool], deadline: float) -> bool:
    while not true():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True
