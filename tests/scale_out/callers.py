"""Clients that repeat each request under one key until it is accepted, as the docs ask for."""

import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from tests.scale_out.deployment import SERVED_BY, Deployment
from tests.support.service_processes import open_course

#: The course of the single requests. It has a limit, so that each batch locks its row.
SINGLES = "course-v1:Scale+Singles+2026"
SEATS = 1_000_000
THREADS = 4
#: Seconds between two single requests of one caller, and before a repeated request.
PACE, PAUSE = 0.1, 0.2
#: Seconds that a caller waits for an answer.
PATIENCE = 15.0
#: Tries of one request: more than any outage of the tests needs.
TRIES = 40
#: What may be answered while a host is cut off; 409: the first try of the request is in progress.
TEMPORARY = {409, 502, 503, 504}


class Callers:
    """Callers of one deployment, in threads of this thread's host."""

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment
        self._lock = threading.Lock()
        self._is_over = threading.Event()
        #: Submission ids by key.
        self.accepted: dict[str, str] = {}
        #: Answers that were not success, and broken or silent connections, by status or name.
        self.failures: Counter[str] = Counter()
        #: Answers of each gateway.
        self.served: Counter[str] = Counter()

    def create_courses(self, courses: bytes) -> None:
        """Creates the courses of a term (NDJSON), and that of the single requests."""
        with self._deployment.client() as http:
            of_singles = open_course(SINGLES, capacity=SEATS)
            self._repeat(http, "PUT", f"/courses/{SINGLES}", json=of_singles)
            headers = {"Content-Type": "application/x-ndjson"}
            self._repeat(http, "POST", "/courses", content=courses, headers=headers)

    def send_file(self, key: str, content: bytes) -> str:
        """Sends a file until it is accepted; returns its submission's id."""
        headers = {"Content-Type": "text/csv", "Idempotency-Key": key}
        with self._deployment.client(PATIENCE) as http:
            answer = self._repeat(http, "POST", "/submissions", content=content, headers=headers)
        return self._accepted(key, answer)

    @contextmanager
    def sending_files(self, files: dict[str, bytes]) -> Iterator[None]:
        """Sends files during the block; all are accepted at its end."""
        with ThreadPoolExecutor(THREADS) as pool:
            sent = [pool.submit(self.send_file, *file) for file in files.items()]
            yield
            for each in sent:
                each.result()

    @contextmanager
    def sending_singles(self) -> Iterator[None]:
        """Sends single requests during the block; each is accepted at its end."""
        with ThreadPoolExecutor(THREADS) as pool:
            loops = [pool.submit(self._send_singles, number) for number in range(THREADS)]
            try:
                yield
            finally:
                self._is_over.set()
            for each in loops:
                each.result()

    def counts_of(self, key: str) -> dict[str, int]:
        """Waits until a submission is done; returns its outcomes."""
        path = f"/submissions/{self.accepted[key]}"
        with self._deployment.client(PATIENCE) as http:
            for _ in range(TRIES):
                body = self._repeat(http, "GET", path, headers={"Prefer": "wait=5"}).json()
                if body["state"] == "done":
                    return {name: number for name, number in body["counts"].items() if number}
        return pytest.fail(f"{key} was not processed: {body}\n{self._deployment.log()}")

    def _send_singles(self, caller: int) -> None:
        with self._deployment.client(PATIENCE) as http:
            number = 0
            while not self._is_over.wait(PACE):
                user = f"c{caller}n{number}"
                body = {"user": user, "course_details": {"course_id": SINGLES}}
                headers = {"Idempotency-Key": user, "Prefer": "respond-async"}
                answer = self._repeat(http, "POST", "/enrollment", json=body, headers=headers)
                self._accepted(user, answer)
                number += 1

    def _accepted(self, key: str, answer: httpx.Response) -> str:
        assert answer.status_code == httpx.codes.ACCEPTED, answer.text
        self.accepted[key] = answer.json()["submission_id"]
        return self.accepted[key]

    def _repeat(self, http: httpx.Client, method: str, path: str, **parts: Any) -> httpx.Response:
        for _ in range(TRIES):
            try:
                answer = http.request(method, path, **parts)
            except httpx.TransportError as error:
                self._count_failure(type(error).__name__)
                continue
            if answer.is_success:
                with self._lock:
                    self.served[answer.headers[SERVED_BY]] += 1
                return answer
            self._count_failure(str(answer.status_code))
            if answer.status_code not in TEMPORARY:
                break
            threading.Event().wait(PAUSE)
        message = f"{method} {path} was not answered with success: {self.failures}"
        return pytest.fail(f"{message}\n{self._deployment.log()}")

    def _count_failure(self, name: str) -> None:
        with self._lock:
            self.failures[name] += 1
