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
REPEAT_SECONDS = 0.1
#: Clients that poll after the last new request.
LAST_POLLERS = 3
#: Clients that repeat requests with an unknown result.
REPEATERS = 2
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
        self._shared = SharedSubmissions()
        self._stopping = threading.Event()
        self._closing = threading.Event()
        self._threads: list[threading.Thread] = []
        self.failures: list[BaseException] = []
        workload = self._workload("courses")
        self.courses, self.scarce = workload.courses, workload.scarce

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
        return self._shared.accepted_items

    @property
    def accepted(self) -> int:
        """Returns the submissions that were answered 202."""
        return self._shared.accepted

    def new_client(self, name: str) -> Client:
        """Returns another client; the caller closes it."""
        name = f"{self._run}-{name}"
        timeout = self.mix.timeout
        return Client(
            self._urls, self._key, self._history, name=name, seed=self._seed, timeout=timeout
        )

    def watch(self, sent: SentRequest) -> SentRequest:
        """Adds a request of another client, to be repeated, polled and counted with the rest."""
        self._shared.add(sent)
        return sent

    def prepare(self) -> None:
        """Creates the courses."""
        with self.new_client("courses") as client:
            for course_id in self.courses:
                self._retry_until(lambda one=course_id: client.course(one))
            for course_id in self.scarce:
                self._retry_until(lambda one=course_id: client.course(one, capacity=self.mix.seats))

    def start(self) -> None:
        """Starts all clients."""
        mix = self.mix
        for number in range(mix.single_clients):
            self._start_client(self._send_singles, f"single{number}")
        for number in range(mix.file_clients):
            self._start_client(self._send_files, f"file{number}")
        for number in range(mix.pollers):
            self._start_client(self._poll, f"looker{number}")
        for number in range(mix.feed_readers):
            self._start_client(self._read_feed, f"reader{number}")
        for number in range(REPEATERS):
            self._start_client(self._repeat_unknown, f"again{number}")

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
        in_time = _until(lambda: self._shared.is_all_known, deadline)
        for number in range(LAST_POLLERS):
            self._start_client(self._poll_rest, f"last{number}")
        in_time = _until(lambda: not self._shared.waiting(), deadline) and in_time
        with self.new_client("end") as client:
            self._read_to_the_end(client, deadline)
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

    def _start_client(self, what: Callable[[Client], None], name: str) -> None:
        def run_client() -> None:
            try:
                with self.new_client(name) as client:
                    what(client)
            except Exception as error:  # noqa: BLE001 (close() raises it)
                self.failures.append(error)
                self._stopping.set()

        thread = threading.Thread(target=run_client, name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _workload(self, name: str) -> WorkloadGenerator:
        return WorkloadGenerator(self.mix, self._run, random.Random(f"{self._seed} {name} wishes"))

    def _send_singles(self, client: Client) -> None:
        mix, workload = self.mix, self._workload(client.name)
        for _ in self._paced(mix.singles / mix.single_clients, self._stopping):
            pick = client.random.random()
            is_old = pick < mix.repeats + mix.reuses
            known = self._shared.any_accepted(client.random) if is_old else None
            if known is not None and pick < mix.repeats:
                client.send(known)
            elif known is not None:
                client.reuse(known, known.changes[0]._replace(user="somebody-else"))
            else:
                with self._shared.in_flight():
                    self._shared.add(client.single(workload.single()))

    def _send_files(self, client: Client) -> None:
        mix, workload = self.mix, self._workload(client.name)
        for number in self._paced(mix.files / mix.file_clients, self._stopping):
            with self._shared.in_flight():
                self._shared.add(client.file(workload.file(f"{client.name}-{number}")))

    def _repeat_unknown(self, client: Client) -> None:
        """Repeats requests with unknown results, with the same key and body."""
        while not self._closing.is_set():
            with self._shared.in_flight():
                sent = self._shared.unknown()
                if sent is not None:
                    self._shared.add(client.send(sent))
            if sent is None or not sent.is_known:
                self._closing.wait(REPEAT_SECONDS)

    def _poll(self, client: Client) -> None:
        for _ in self._paced(self.mix.polls / self.mix.pollers, self._stopping):
            waiting = self._shared.waiting()
            if waiting:
                # Mostly the oldest, so that all are seen once; sometimes any, to see progress.
                some = waiting[:4] if client.random.random() < 0.7 else waiting
                self._poll_one(client, client.random.choice(some), detail_rate=0.2)

    def _poll_rest(self, client: Client) -> None:
        """Polls until every submission is done."""
        while not self._closing.is_set():
            waiting = self._shared.waiting()
            client.random.shuffle(waiting)
            for sent in waiting[:20]:
                if self._closing.is_set():
                    return
                if not sent.is_done:
                    self._poll_one(client, sent, detail_rate=0.1)
            self._closing.wait(0.01 if waiting else REPEAT_SECONDS)

    def _poll_one(self, client: Client, sent: SentRequest, *, detail_rate: float) -> None:
        was_done = sent.is_done
        body = client.status(sent)
        is_newly_done = sent.is_done and not was_done
        if is_newly_done:
            self._shared.add(sent)
        reads_details = body is not None and client.random.random() < detail_rate
        if sent.op is Op.FILE and (is_newly_done or reads_details):
            limit = client.random.choice([100, 1_000])
            page = client.outcomes(sent, limit=limit)
            if page and page["next"] is not None:
                client.outcomes(sent, cursor=page["next"], limit=limit)
        if sent.is_done and reads_details:
            client.enrollment(sent, client.random.choice(sent.changes))

    def _read_feed(self, client: Client) -> None:
        """Follows the feed; sometimes goes back to an earlier position, on another connection."""
        place = self._since
        for _ in self._paced(5.0, self._closing):
            if client.random.random() < 0.1:
                place = client.random.randint(max(self._since, place - 2_000), place)
            after = client.feed(place, limit=client.random.choice([7, 100, 1_000, 1_000]))
            place = place if after is None else after

    def _read_to_the_end(self, client: Client, deadline: float) -> None:
        place = self._since
        while time.monotonic() < deadline + LAST_PAGE_SECONDS and not self._closing.is_set():
            after = client.feed(place)
            if after == place:
                return
            place = place if after is None else after

    def _retry_until(self, done: Callable[[], bool]) -> None:
        deadline = time.monotonic() + COURSE_SECONDS
        while not done():
            if time.monotonic() > deadline:
                message = "the service did not take a course"
                raise RuntimeError(message)
            self._closing.wait(REPEAT_SECONDS)

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
