"""What one request may cost a served gateway: its time, the size of its answer, its places."""

import json
import threading
import time
from http import HTTPStatus

import httpx
import pytest

from tests.support.service import Service

COURSE = "course-v1:Uni+ALG+2026"
#: Seconds within which a request that costs little is answered on a busy machine.
SOON = 5.0
#: Longest answer to a request that is refused, in bytes.
SHORT = 100_000

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    """A gateway on SQLite, without workers."""
    with Service(tmp_path_factory.mktemp("costs")) as made:
        yield made.start_gateway()


@pytest.fixture(scope="module")
def http(service):
    with service.http() as made:
        yield made


class Probe:
    """Asks whether the process lives, again and again, while a block runs."""

    def __init__(self, url):
        self._url = url
        self._over = threading.Event()
        self.longest = 0.0

    def __enter__(self):
        self._thread = threading.Thread(target=self._ask)
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        self._thread.join()

    def _ask(self):
        with httpx.Client(timeout=60) as http:
            while not self._over.is_set():
                began = time.monotonic()
                assert http.get(f"{self._url}/livez").is_success
                self.longest = max(self.longest, time.monotonic() - began)


EMPTY_ATTRIBUTES = {"user": "ada", "course_id": COURSE, "enrollment_attributes": [{}] * 60_000}
COSTLY = {
    "attributes of one request": ("POST", "/enrollment", EMPTY_ATTRIBUTES),
    "modes of a course": ("PUT", f"/courses/{COURSE}", {"course_modes": [{}] * 200_000}),
    "cohorts of a course": ("PATCH", f"/courses/{COURSE}", {"cohorts": [1] * 300_000}),
    "unknown members": ("PUT", "/learners/ada", {f"m{n}": n for n in range(50_000)}),
    "many courses": ("POST", "/courses", {"courses": [{"course_id": 7}] * 10_000}),
    "many entries": ("PATCH", "/crosswalks/sis", {"entries": [{}] * 50_000}),
}


@pytest.mark.parametrize("name", COSTLY)
def test_a_costly_request_is_refused_shortly_and_holds_up_nobody(service, http, name):
    method, path, body = COSTLY[name]
    content = json.dumps(body).encode()

    with Probe(service.url) as probe:
        began = time.monotonic()
        answer = http.request(
            method, path, content=content, headers={"Content-Type": "application/json"}
        )
        taken = time.monotonic() - began

    assert answer.status_code == HTTPStatus.BAD_REQUEST
    assert len(answer.content) < SHORT
    assert taken < SOON
    assert probe.longest < SOON / 2
