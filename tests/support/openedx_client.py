"""A client that sends what clients of Open edX send: three media types, all header schemes."""

import json
import uuid
from collections import defaultdict
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple
from urllib.parse import urlencode

import httpx

from api_gateway.auth.jwt_tokens import sign_token
from api_gateway.auth.signing_keys import SigningKey
from tests.support.service_processes import API, PATIENCE, Stack

EDX_KEY = "the one key of an unmodified installation"
SIGNING_KEY = SigningKey.of(b"conformance-tests-only-" + b"k" * 20)
CLIENT_SECRET = "conformance-secret-" + "s" * 30
#: Client id, username and whether the user is staff.
STAFF_CLIENT, PLAIN_CLIENT = ("shop", "shop_worker"), ("reader", "reader_worker")
#: Settings of a stack that unmodified clients of Open edX use.
SETTINGS = {
    "ENROLL_DEFAULT_WAIT": "30",
    "ENROLL_EDX_API_KEY": EDX_KEY,
    "ENROLL_SIGNING_KEY": SIGNING_KEY.secret.decode(),
    "ENROLL_UNKNOWN_LEARNERS": "refuse",
    "ENROLL_OAUTH_CLIENTS": ",".join(
        [
            f"{STAFF_CLIENT[0]}:{CLIENT_SECRET}:{STAFF_CLIENT[1]}:staff",
            f"{PLAIN_CLIENT[0]}:{CLIENT_SECRET}:{PLAIN_CLIENT[1]}",
        ]
    ),
}
BULK = "/api/bulk_enroll/v1/bulk_enroll"
KEY = {"X-Edx-Api-Key": EDX_KEY}
ANONYMOUS: Mapping[str, str] = {}
#: The end of a window or a mode that is over.
PAST = "2020-01-02T03:04:05Z"

Body = Mapping[str, Any]
Caller = Mapping[str, str]


class State(NamedTuple):
    """An enrollment as it is stored."""

    mode: str
    is_active: bool


def active(mode: str) -> State:
    """Returns an active enrollment in a mode."""
    return State(mode, is_active=True)


def inactive(mode: str) -> State:
    """Returns an inactive enrollment in a mode."""
    return State(mode, is_active=False)


class CoursePool:
    """Courses that tests take from; many are created at once, for each change waits for a lease."""

    SIZE = 20

    def __init__(self, up: Stack) -> None:
        self.up = up
        self.admin = {"X-Edx-Api-Key": up.key()}
        #: Without TLS settings, which take longer to load than a test.
        self.http = httpx.Client(base_url=up.url, timeout=PATIENCE, verify=False)
        self._free: dict[str, list[str]] = defaultdict(list)

    def take(self, members: Body) -> str:
        """Returns the id of a course with these members that no other test has."""
        free = self._free[json.dumps(members, sort_keys=True)]
        if not free:
            word = f"P{uuid.uuid4().hex[:10]}"
            ids = [f"course-v1:Org{word}+C{number}+{word}" for number in range(self.SIZE)]
            many = [{"course_id": course_id, **members} for course_id in ids]
            ok(self.http.post(f"{API}/courses", json=many, headers=self.admin))
            free += ids
        return free.pop()


class OpenEdxClient:
    """A client of a running stack; its names and courses are of no other test."""

    def __init__(self, courses: CoursePool, media: str = "json") -> None:
        self.up = courses.up
        self._courses = courses
        self.media = media
        self.word = f"t{uuid.uuid4().hex[:10]}"
        self.admin = courses.admin
        self._http = courses.http
        self._count = 0
        self._feed = 0
        self._events: dict[str, list[dict[str, Any]]] = defaultdict(list)

    # --- what there is

    def course(self, *modes: str | Body, **members: object) -> str:
        """Creates a course, open to all; returns its id. Without modes it has the synthetic one.

        `org` and `course_id` may be given.
        """
        offered = [_mode(mode) for mode in modes]
        body = {"course_name": "Course", **members, "course_modes": offered}
        org, course_id = body.pop("org", None), body.pop("course_id", None)
        if org is course_id is None:
            return self._courses.take(body)
        self._count += 1
        made_id = str(course_id or f"course-v1:{org}+C{self._count}+{self.word}")
        made = self.put(f"/courses/{made_id}", body)
        assert made.is_success, made.text
        return made_id

    def put(self, path: str, body: Body) -> httpx.Response:
        """Puts what Open edX has in its own administration pages."""
        return self._http.put(f"{API}{path}", json=body, headers=self.admin)

    def learner(self, **members: object) -> str:
        """Registers a learner with an address of its own; returns the username."""
        self._count += 1
        username = f"{self.word}_{self._count}"
        self.set_learner(username, **{"email": email_of(username), **members})
        return username

    def set_learner(self, username: str, **members: object) -> None:
        """Stores a learner."""
        made = self.put(f"/learners/{username}", members)
        assert made.is_success, made.text

    def give_role(self, course_id: str, username: str, role: str = "staff") -> None:
        """Makes a learner staff of one course."""
        made = self.put(f"/roles/{course_id}/{username}", {"role": role})
        assert made.is_success, made.text

    def staff(self) -> Caller:
        """Registers a learner who is global staff; returns their token."""
        return as_staff(self.learner(is_staff=True))

    # --- requests

    def get(self, path: str, caller: Caller, **params: object) -> httpx.Response:
        """Reads a path of the API; one that begins with /api is taken as it is."""
        return self._http.get(_at(path), headers=dict(caller), params=_texts(params))

    def send(self, method: str, path: str, caller: Caller, body: Body) -> httpx.Response:
        """Sends a body in the media type of this client: json, urlencoded or multipart."""
        content_type, content = encoded(body, self.media)
        headers = {**caller, **({"Content-Type": content_type} if content_type else {})}
        return self._http.request(method, _at(path), headers=headers, content=content)

    def send_raw(self, method: str, path: str, **how: Any) -> httpx.Response:
        """Sends a request as it is given; the path begins at the root."""
        return self._http.request(method, path, **how)

    def post(self, path: str, caller: Caller, **body: object) -> httpx.Response:
        """Posts a body in the media type of this client."""
        return self.send("POST", path, caller, body)

    def delete(self, path: str, caller: Caller, **body: object) -> httpx.Response:
        """Deletes by a body in the media type of this client."""
        return self.send("DELETE", path, caller, body)

    def enroll(self, caller: Caller, course_id: str, **members: object) -> httpx.Response:
        """Posts an enrollment, and waits as long as the stack does."""
        details = {"course_details": {"course_id": course_id}}
        return self.send("POST", "/enrollment", caller, {**details, **members})

    def enrolled(self, course_id: str, user: str, **members: object) -> dict[str, Any]:
        """Enrolls somebody by the key; returns the enrollment object."""
        return ok(self.enroll(KEY, course_id, user=user, **members))

    def bulk(self, caller: Caller, **members: object) -> httpx.Response:
        """Posts a list to the bulk enrollment."""
        return self.send("POST", BULK, caller, members)

    def results(self, course_id: str, **members: object) -> list[dict[str, Any]]:
        """Enrolls a list as staff; returns the results of one course."""
        asked = {"action": "enroll", "courses": course_id, "auto_enroll": False, **members}
        found: list[dict[str, Any]] = ok(self.bulk(self.staff(), **asked))["courses"][course_id][
            "results"
        ]
        return found

    # --- what is stored

    def state(self, course_id: str, user: str) -> State | None:
        """Returns an enrollment as the key reads it; None if there is none."""
        answer = self.get(f"/enrollment/{user},{course_id}", KEY)
        assert answer.status_code == 200, answer.text
        if not answer.content:
            return None
        shown = answer.json()
        return State(shown["mode"], shown["is_active"])

    def events(self, course_id: str, user: str) -> list[dict[str, Any]]:
        """Returns the events of an enrollment, oldest first."""
        while True:
            page = ok(self.get("/changes", self.admin, since=self._feed, limit=1000))
            for event in page["changes"]:
                self._events[event["subject"]].append(event)
            if page["next"] == self._feed:
                return self._events[f"{course_id}/{user}"]
            self._feed = page["next"]

    def stored(self, course_id: str, user: str) -> dict[str, Any]:
        """Returns an enrollment as its last event has it: with attributes and cohort."""
        after: dict[str, Any] = self.events(course_id, user)[-1]["data"]["after"]
        return after

    def opt_ins(self, user: str) -> dict[str, bool]:
        """Returns whether a learner wants e-mail, by organisation."""
        found: dict[str, bool] = ok(self.get(f"/learners/{user}", self.admin))["email_opt_in"]
        return found


def encoded(body: Body, media: str) -> tuple[str, bytes]:
    """Returns a body's Content-Type and bytes."""
    if media == "json":
        return "application/json", json.dumps(body).encode()
    fields = form_fields(body)
    if media == "urlencoded":
        return "application/x-www-form-urlencoded", urlencode(fields).encode()
    parts = {name: (None, text) for name, text in fields.items()}
    request = httpx.Request("POST", "http://127.0.0.1/", files=parts or None)
    return request.headers.get("Content-Type", ""), request.read()


def form_fields(body: Body) -> dict[str, str]:
    """Returns the fields of a form: dotted names, lists as JSON text, nothing for null."""
    fields: dict[str, str] = {}
    for name, value in body.items():
        if name == "course_details":
            fields |= {f"{name}.{inner}": str(text) for inner, text in value.items()}
        else:
            fields[name] = _text(value)
    return fields


def as_learner(username: str, email: str | None = None) -> Caller:
    """Returns the header of a learner's token."""
    return {"Authorization": f"JWT {token(username, email=email or email_of(username))}"}


def as_staff(username: str) -> Caller:
    """Returns the header of a staff member's token."""
    return {"Authorization": f"JWT {token(username, staff=True)}"}


def token(username: str, **claims: Any) -> str:
    """Signs a token with the key of the stack."""
    return sign_token(SIGNING_KEY, username, now=datetime.now(UTC), **claims)


def email_of(username: str) -> str:
    """Returns the address of a learner of this client."""
    return f"{username}@example.com"


def ok(answer: httpx.Response) -> Any:
    """Returns the JSON of an answer that is exactly 200 and exactly application/json."""
    assert answer.status_code == 200, f"{answer.status_code} {answer.text}"
    assert answer.headers["content-type"] == "application/json"
    return answer.json()


def expired(slug: str) -> Body:
    """Returns a mode whose deadline has passed."""
    return {"slug": slug, "name": slug.title(), "expiration_datetime": PAST}


def _mode(mode: str | Body) -> Body:
    return {"slug": mode, "name": mode.title()} if isinstance(mode, str) else mode


def _at(path: str) -> str:
    return path if path.startswith(("/api/", "/oauth2/")) else f"{API}{path}"


def _text(value: object) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value)


def _texts(params: Mapping[str, object]) -> dict[str, str]:
    return {name: str(value) for name, value in params.items()}
