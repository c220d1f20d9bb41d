"""Measures whether the time of an answer tells what is not yours from what is not there."""

import random
import time
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from statistics import median
from typing import NamedTuple
from uuid import uuid4

import httpx

from api_gateway.auth.jwt_tokens import sign_token
from api_gateway.auth.signing_keys import SigningKey
from bench.stack import COURSE, Servers, Service, Size, service
from bench.table import Figure
from enrollment.domain.codes import CourseRole
from enrollment.domain.model import Learner
from enrollment.storage import learners
from enrollment.storage.engine.sessions import Sessions, sessions_for
from enrollment.storage.people import course_roles

PAIRS, QUICK_PAIRS = 2_000, 300
#: Requests before the measured ones, which fill caches.
WARM_UP = 20
#: Courses of the learner whom the asker must not see; many, so that a difference would show.
COURSES = 50
SIGNING_KEY = SigningKey.of(b"k" * 32)
ASKER, TARGET = "asker", "target"
EMAIL = "target@example.org"
#: How far the probability that the hidden thing takes longer may be from a half. With so many
#: pairs, chance alone exceeds it in one of 10,000 runs.
AT_MOST, QUICK_AT_MOST = 0.04, 0.1


class Probe(NamedTuple):
    """Two requests that must be answered alike: for what is hidden, and for what is not there."""

    name: str
    hidden: Callable[[], httpx.Request]
    missing: Callable[[], httpx.Request]


def measure(servers: Servers, size: Size) -> list[Figure]:
    """Asks for both alternately, in random order; a learner asks who is staff of one course."""
    settings = {"ENROLL_SIGNING_KEY": SIGNING_KEY.secret.decode()}
    with servers.database() as url, service(servers, url, workers=1, **settings) as made:
        sessions = sessions_for(url, pool_size=1)
        try:
            _prepare(made, sessions)
        finally:
            sessions.dispose()
        job = _submission_of_another(made)
        token = sign_token(SIGNING_KEY, ASKER, now=datetime.now(UTC))
        with httpx.Client(headers={"Authorization": f"JWT {token}"}, timeout=60) as http:
            probes = _probes(http, f"http://127.0.0.1:{made.port}", job)
            return [figure for probe in probes for figure in _figures(http, probe, size)]


def _prepare(made: Service, sessions: Sessions) -> None:
    """Creates the people, the courses, and the enrollments that are hidden."""
    courses = [f"course-v1:Privacy+C{number}+2026" for number in range(COURSES)]
    ndjson = "".join(f'{{"course_id":"{course_id}"}}\n' for course_id in courses)
    made.load_courses(ndjson.encode())
    now = datetime.now(UTC)
    with sessions.begin() as session:
        learners.save(session, Learner(ASKER))
        learners.save(session, Learner(TARGET, EMAIL))
        course_roles.replace(session, ASKER, COURSE, CourseRole.STAFF, now=now)
    lines = "".join(f"{TARGET},{course_id}\n" for course_id in courses)
    made.until_ended(made.submit(f"user,course_id\n{lines}".encode()))


def _submission_of_another(made: Service) -> str:
    """Returns a finished submission that belongs to the key of the bench."""
    job = made.submit(f"user,course_id\nsomebody,{COURSE}\n".encode())
    made.until_ended(job)
    return job


def _probes(http: httpx.Client, address: str, job: str) -> list[Probe]:
    base = f"{address}/api/enrollment/v1"

    def probe(name: str, method: str, path: Callable[[str], str], hidden: str) -> Probe:
        def ask(text: str) -> httpx.Request:
            return http.build_request(method, path(text))

        missing = _unlike(hidden)
        return Probe(name, lambda: ask(hidden), lambda: ask(missing))

    def enroll(member: str, hidden: str) -> Probe:
        def ask(text: str) -> httpx.Request:
            body = {member: text, "course_details": {"course_id": COURSE}}
            return http.build_request("POST", f"{base}/enrollment", json=body)

        missing = _unlike(hidden)
        return Probe(f"enroll by {member}", lambda: ask(hidden), lambda: ask(missing))

    accounts = f"{address}/api/user/v1/accounts"
    course_id = "course-v1:Privacy+C1+2026"
    return [
        probe("enrollment", "GET", lambda user: f"{base}/enrollment/{user},{course_id}", TARGET),
        probe("list", "GET", lambda user: f"{base}/enrollment?user={user}", TARGET),
        probe("eligibility", "GET", lambda user: f"{base}/eligibility/{user},{course_id}", TARGET),
        probe("account by name", "GET", lambda user: f"{accounts}?username={user}", TARGET),
        probe("account by e-mail", "GET", lambda email: f"{accounts}?email={email}", EMAIL),
        enroll("user", TARGET),
        enroll("email", EMAIL),
        probe("submission", "GET", lambda id_: f"{base}/submissions/{id_}", job),
        probe("outcomes", "GET", lambda id_: f"{base}/submissions/{id_}/outcomes", job),
        probe("cancel", "POST", lambda id_: f"{base}/submissions/{id_}/cancel", job),
    ]


def _unlike(hidden: str) -> str:
    """Returns a name of the same form and length that nothing has."""
    if len(hidden) == len(str(uuid4())):
        return str(uuid4())
    user, at, domain = hidden.partition("@")
    return f"{user[::-1]}{at}{domain}"


def _figures(http: httpx.Client, probe: Probe, size: Size) -> list[Figure]:
    pairs = QUICK_PAIRS if size.is_quick else PAIRS
    sides = [probe.hidden, probe.missing]
    times: list[list[float]] = [[], []]
    answers = set()
    for number in range(WARM_UP + pairs):
        for side in random.sample((0, 1), 2):
            request = sides[side]()
            start = time.perf_counter()
            answer = http.send(request)
            seconds = time.perf_counter() - start
            answers.add((answer.status_code, answer.content))
            if number >= WARM_UP:
                times[side].append(seconds * 1000)
    if len(answers) != 1:
        raise RuntimeError(f"{probe.name}: the answers differ: {answers}")
    hidden, missing = times
    limit = QUICK_AT_MOST if size.is_quick else AT_MOST
    share = longer_share(hidden, missing)
    note = f"{median(hidden):.3f} ms", f"{median(missing):.3f} ms"
    name = f"privacy: {probe.name},"
    return [
        Figure(
            f"{name} how far the ranks differ", "", [abs(share - 0.5)], None, limit, None, *note
        ),
        Figure(f"{name} hidden of missing", "times", [median(hidden) / median(missing)]),
    ]


def longer_share(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """Returns the probability that one of ours is greater than one of theirs (Mann-Whitney).

    Of equal values one half counts.
    """
    ranked = sorted(theirs)
    below = sum(bisect_left(ranked, value) + bisect_right(ranked, value) for value in ours)
    return below / (2 * len(ours) * len(theirs))
