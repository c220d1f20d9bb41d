"""What one request may cost a served gateway: its time, the size of its answer, its places."""

import json
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from http import HTTPStatus

import httpx
import pytest

from tests.support.service import Service
from tests.support.service_processes import API, PATIENCE, client, wait_until

OTHER_KEY = "the one key of another server, which is long enough"
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


# --- places -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A gateway with low quotas, and no workers."""
    settings = {
        "ENROLL_MAX_UPLOADS_PER_CALLER": "3",
        "ENROLL_MAX_STREAMS_PER_CALLER": "3",
        "ENROLL_MAX_LONG_POLLS_PER_CALLER": "3",
        "ENROLL_MAX_PENDING_ROWS_PER_CALLER": "5000",
        "ENROLL_EDX_API_KEY": OTHER_KEY,
    }
    with Service(tmp_path_factory.mktemp("quotas"), **settings) as made:
        yield made.start_gateway()


@pytest.fixture
def one(small):
    """A client with one key."""
    with small.http() as made:
        yield made


@pytest.fixture
def other(small):
    """A client with another key."""
    with client(small.url, OTHER_KEY) as made:
        yield made


def linked(http, name):
    """The link of a new submission."""
    url = httpx.URL(upload(http).json()["links"][name])
    return httpx.URL(http.base_url).join(url)


def file_of(number):
    return ("user,course_id\n" + "".join(f"u{n},{COURSE}\n" for n in range(number))).encode()


def upload(http, content=None):
    """A file that takes a place, as its length is not known."""
    chunks = iter([content or file_of(1)])
    return http.post("/submissions", content=chunks, headers={"Content-Type": "text/csv"})


def assert_over_quota(answer, setting):
    assert answer.status_code == HTTPStatus.TOO_MANY_REQUESTS, answer.text
    assert answer.json()["code"] == "quota_exceeded"
    assert setting in answer.json()["detail"]
    assert int(answer.headers["Retry-After"]) >= 1


@contextmanager
def slow_upload(service, key):
    """An upload that has a place, and ends with the block.

    The server says 100 as soon as it waits for the body, which is after it gave out the place.
    """
    with socket.create_connection(("127.0.0.1", httpx.URL(service.url).port)) as connection:
        connection.settimeout(PATIENCE)
        connection.sendall(
            f"POST {API}/submissions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n"
            "Content-Type: text/csv\r\nContent-Length: 1000000\r\n"
            "Expect: 100-continue\r\n\r\n".encode()
        )
        assert connection.recv(100).startswith(b"HTTP/1.1 100 ")
        yield


def test_one_key_cannot_hold_all_places_for_uploads(small, one, other):
    with ExitStack() as held:
        for _ in range(3):
            held.enter_context(slow_upload(small, small.key))
        over = upload(one)
        theirs = upload(other)
        listed = one.post("/submissions", content=file_of(1), headers={"Content-Type": "text/csv"})
    again = wait_until(lambda: answer if (answer := upload(one)).is_success else None)

    assert_over_quota(over, "ENROLL_MAX_UPLOADS_PER_CALLER")
    assert theirs.status_code == again.status_code == HTTPStatus.ACCEPTED
    assert listed.status_code == HTTPStatus.ACCEPTED  # a short list takes no place


def test_one_key_cannot_hold_all_event_streams(one, other):
    mine, theirs = linked(one, "events"), linked(other, "events")

    with ExitStack() as streams:
        for _ in range(3):
            stream = streams.enter_context(one.stream("GET", mine))
            next(stream.iter_lines())
        over = one.get(mine)
        with other.stream("GET", theirs) as stream:
            assert stream.is_success
            next(stream.iter_lines())
    assert_over_quota(over, "ENROLL_MAX_STREAMS_PER_CALLER")

    def opened():
        with one.stream("GET", mine) as stream:
            return stream.is_success

    wait_until(opened)


def test_one_key_cannot_hold_all_long_polls(one, other):
    mine, theirs = linked(one, "self"), linked(other, "self")
    wait = {"Prefer": "wait=8"}

    def held():  # asked again when the caller that looks for a refusal had the last place
        return wait_until(
            lambda: found if (found := one.get(mine, headers=wait)).is_success else None
        )

    with ThreadPoolExecutor(3) as threads:
        polls = [threads.submit(held) for _ in range(3)]
        over = wait_until(
            lambda: (
                found
                if (found := one.get(mine, headers={"Prefer": "wait=1"})).is_client_error
                else None
            )
        )
        plain = one.get(mine)
        of_other = other.get(theirs, headers={"Prefer": "wait=1"})

    assert_over_quota(over, "ENROLL_MAX_LONG_POLLS_PER_CALLER")
    assert {poll.result().status_code for poll in polls} == {HTTPStatus.OK}
    assert plain.status_code == of_other.status_code == HTTPStatus.OK
    assert one.get(mine, headers={"Prefer": "wait=1"}).status_code == HTTPStatus.OK


def test_who_has_too_many_rows_pending_uploads_no_more(one, other):
    assert upload(one, file_of(6_000)).status_code == HTTPStatus.ACCEPTED

    over = wait_until(lambda: answer if (answer := upload(one)).is_client_error else None)
    short = one.post("/submissions", content=file_of(1), headers={"Content-Type": "text/csv"})
    single = one.post("/enrollment", json={"user": "ada", "course_id": COURSE})

    assert_over_quota(over, "ENROLL_MAX_PENDING_ROWS_PER_CALLER")
    assert_over_quota(short, "ENROLL_MAX_PENDING_ROWS_PER_CALLER")
    assert single.status_code == HTTPStatus.ACCEPTED
    assert upload(other).status_code == HTTPStatus.ACCEPTED
