"""One client of a running service; records every request and answer in the history."""

import hashlib
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any, NamedTuple, Self

import httpx

from tests.fault_lab.history import History, Op, Phase
from tests.support.service_processes import API, open_course

#: Statuses after which the request may or may not have been stored.
UNSURE = frozenset({408, 409, 425, 429})
ENDED = frozenset({"done", "cancelled"})
FEED_PAGE = 1_000
_MODES = [{"slug": slug, "name": slug.title()} for slug in ("audit", "verified")]
_COLUMNS = ("user", "course_id", "is_active", "mode", "requested_at")


class RequestedChange(NamedTuple):
    """One request: learner, course and desired change."""

    user: str
    course_id: str
    is_active: bool | None = None
    mode: str | None = None
    #: ISO 8601; None: the time of receipt.
    requested_at: str | None = None


@dataclass(eq=False)
class SentRequest:
    """One or many changes under a key; every send has the same bytes."""

    op: Op
    key: str
    changes: Sequence[RequestedChange]
    #: Rows of it may come to internal_error.
    poison: bool = False
    id: str | None = None
    #: An answer proves that it was not stored.
    refused: bool = False
    attempts: int = 0
    is_done: bool = False
    #: Number of each outcome, once it is done.
    counts: dict[str, int] = field(default_factory=dict)

    @property
    def is_known(self) -> bool:
        """Returns whether the client knows the result."""
        return self.id is not None or self.refused


class Client:
    """An HTTP client for one thread."""

    def __init__(
        self,
        urls: Sequence[str],
        key: str,
        history: History,
        *,
        name: str,
        seed: int = 0,
        timeout: float = 10.0,
    ) -> None:
        self.name = name
        self.random = random.Random(f"{seed} {name}")
        self._seed = seed
        self._urls = list(urls)
        self._history = history
        self._numbers = count(1)
        self._http = httpx.Client(
            headers={"Authorization": f"Bearer {key}"},
            timeout=timeout,
            trust_env=False,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes its connections."""
        self._http.close()

    # --- writes ---------------------------------------------------------------------------

    def single(
        self, change: RequestedChange, *, key: str | None = None, poison: bool = False
    ) -> SentRequest:
        """Sends a single request once."""
        return self.send(SentRequest(Op.SINGLE, key or self.new_key(), [change], poison))

    def file(
        self, changes: Sequence[RequestedChange], *, key: str | None = None, poison: bool = False
    ) -> SentRequest:
        """Sends a CSV file once."""
        return self.send(SentRequest(Op.FILE, key or self.new_key(), changes, poison))

    def send(self, sent: SentRequest) -> SentRequest:
        """Sends it, for the first time or again."""
        first, sent.attempts = sent.attempts == 0, sent.attempts + 1
        facts: dict[str, object] = {"attempt": sent.attempts}
        if first:
            facts |= {"changes": sent.changes, "poison": sent.poison}
        answer = self._post(sent.op, sent, sent.changes, facts)
        if answer is not None and answer.status_code == httpx.codes.ACCEPTED:
            sent.id = sent.id or answer.json()["submission_id"]
        elif answer is not None:
            sent.refused = sent.id is None
        return sent

    def reuse(self, sent: SentRequest, other: RequestedChange) -> None:
        """Sends an existing key with another body."""
        changes = [other, *sent.changes[1:]]
        facts = {"attempt": 1, "changes": [other]}
        self._post(Op.REUSE, sent, changes, facts)

    def new_key(self) -> str:
        """Returns an unused key."""
        return f"{self.name}-{self._seed}-{next(self._numbers)}"

    def _post(
        self,
        op: Op,
        sent: SentRequest,
        changes: Sequence[RequestedChange],
        facts: dict[str, object],
    ) -> httpx.Response | None:
        """Sends and records; returns the answer, or None if the result is unknown."""
        is_file, key = sent.op is Op.FILE, sent.key
        url, common = self._url(), {"client": self.name, "key": key}
        path = "/submissions" if is_file else "/enrollment"
        sort = "text/csv" if is_file else "application/json"
        headers = {"Idempotency-Key": key, "Content-Type": sort}
        content = csv_of(changes) if is_file else json_of(changes[0])
        began = self._history.write(op, Phase.INVOKE, at=url, **common, **facts)
        try:
            answer = self._http.post(f"{url}{API}{path}", content=content, headers=headers)
        except httpx.TransportError as error:
            self._history.write(op, Phase.UNKNOWN, because=repr(error), **common)
            return None
        status, took = answer.status_code, {"seconds": round(self._history.now() - began, 6)}
        if status == httpx.codes.ACCEPTED:
            replayed = answer.headers.get("Idempotency-Replayed") == "true"
            id_ = answer.json()["submission_id"]
            facts = {"id": id_, "replayed": replayed, **took}
            self._history.write(op, Phase.OK, status=status, **facts, **common)
            return answer
        is_unsure = status >= httpx.codes.INTERNAL_SERVER_ERROR or status in UNSURE
        phase = Phase.UNKNOWN if is_unsure else Phase.FAIL
        self._history.write(op, phase, status=status, body=answer.text[:500], **took, **common)
        return None if is_unsure else answer

    # --- reads ----------------------------------------------------------------------------

    def status(self, sent: SentRequest) -> dict[str, Any] | None:
        """Reads the status of a submission; None if there was no answer."""
        body = self._get(Op.STATUS, f"/submissions/{sent.id}", _status, id=sent.id)
        if body is not None and body["state"] in ENDED:
            sent.is_done = True
            sent.counts = body["counts"]
        return body

    def outcomes(self, sent: SentRequest, *, cursor: str | None = None, limit: int = 1_000) -> Any:
        """Reads a page of outcomes."""
        place = "" if cursor is None else f"&cursor={cursor}"
        path = f"/submissions/{sent.id}/outcomes?limit={limit}{place}"
        return self._get(Op.OUTCOMES, path, _outcomes, id=sent.id)

    def enrollment(self, sent: SentRequest, change: RequestedChange) -> None:
        """Reads an enrollment after its outcome is known."""
        path = f"/enrollment/{change.user},{change.course_id}"
        named = {"user": change.user, "course_id": change.course_id}
        self._get(Op.ENROLLMENT, path, _enrollment, id=sent.id, **named)

    def feed(self, since: int, *, limit: int = FEED_PAGE) -> int | None:
        """Reads a page of the feed; returns the next cursor, or None if there was no answer."""
        body = self._get(Op.FEED, f"/changes?since={since}&limit={limit}", _feed, since=since)
        return None if body is None else int(body["next"])

    def course(self, course_id: str, *, capacity: int | None = None, **members: object) -> bool:
        """Saves a course (by default with modes audit and verified); returns whether it succeeded."""
        url = self._url()
        body = open_course(course_id, **{"course_modes": _MODES, "capacity": capacity, **members})
        facts: dict[str, Any] = {"client": self.name, "course_id": course_id, "capacity": capacity}
        facts["is_plain"] = not members
        self._history.write(Op.COURSE, Phase.INVOKE, **facts)
        try:
            answer = self._http.put(f"{url}{API}/courses/{course_id}", json=body)
        except httpx.TransportError as error:
            self._history.write(Op.COURSE, Phase.UNKNOWN, because=repr(error), **facts)
            return False
        status = answer.status_code
        phase = Phase.FAIL if status < httpx.codes.INTERNAL_SERVER_ERROR else Phase.UNKNOWN
        phase = Phase.OK if answer.is_success else phase
        self._history.write(Op.COURSE, phase, status=status, **facts)
        return answer.is_success

    def _get(self, op: Op, path: str, select: Any, **facts: object) -> dict[str, Any] | None:
        """Sends a read and records the result of `select`."""
        common: dict[str, Any] = {"client": self.name, "began": self._history.now(), **facts}
        try:
            answer = self._http.get(f"{self._url()}{API}{path}")
        except httpx.TransportError as error:
            self._history.write(op, Phase.UNKNOWN, because=repr(error), **common)
            return None
        status = answer.status_code
        if answer.is_success:
            body: dict[str, Any] = answer.json() if answer.content else {}
            self._history.write(op, Phase.OK, status=status, **select(body), **common)
            return body
        is_unsure = status >= httpx.codes.INTERNAL_SERVER_ERROR or status in UNSURE
        phase = Phase.UNKNOWN if is_unsure else Phase.FAIL
        self._history.write(op, phase, status=status, body=answer.text[:500], **common)
        return None

    def _url(self) -> str:
        return self.random.choice(self._urls)


def json_of(change: RequestedChange) -> bytes:
    """Returns the body of a single request, without members that are None."""
    members: dict[str, object] = {
        "user": change.user,
        "course_details": {"course_id": change.course_id},
        "is_active": change.is_active,
        "mode": change.mode,
        "requested_at": change.requested_at,
    }
    return json.dumps(
        {name: value for name, value in members.items() if value is not None}
    ).encode()


def csv_of(changes: Sequence[RequestedChange]) -> bytes:
    """Returns a native file; the first change is in line 2."""
    lines = [",".join(_COLUMNS), *(",".join(map(_cell, change)) for change in changes)]
    return ("\n".join(lines) + "\n").encode()


#: The line of the first change of a file.
FIRST_LINE = 2


def _cell(value: object) -> str:
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _status(body: dict[str, Any]) -> dict[str, object]:
    facts = {"state": body["state"], "counts": body["counts"]}
    return facts | ({"outcomes": [brief(body["outcome"])]} if "outcome" in body else {})


def _outcomes(body: dict[str, Any]) -> dict[str, object]:
    return {"outcomes": list(map(brief, body["outcomes"]))}


def brief(outcome: dict[str, Any]) -> list[object]:
    """Returns the members of an outcome that may never change."""
    return [outcome.get(name) for name in ("line", "outcome", "reason", "mode", "is_active")]


def _enrollment(body: dict[str, Any]) -> dict[str, object]:
    return {"is_active": body.get("is_active"), "mode": body.get("mode")}


def _feed(body: dict[str, Any]) -> dict[str, object]:
    places = [(change["data"]["position"], change["id"]) for change in body["changes"]]
    return {
        "next": body["next"],
        "positions": spans(place for place, _ in places),
        "digest": digest(id_ for _, id_ in places),
    }


def spans(positions: Any) -> list[list[int]]:
    """Returns positions as runs of [first, last]."""
    runs: list[list[int]] = []
    for position in positions:
        if runs and runs[-1][1] + 1 == position:
            runs[-1][1] = position
        else:
            runs.append([position, position])
    return runs


def digest(ids: Any) -> str:
    """Returns a digest of a page of event ids."""
    return hashlib.sha256(" ".join(ids).encode()).hexdigest()[:32]
