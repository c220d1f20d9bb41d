"""A sender of files as a registrar is one: courses, a crosswalk, learners, outcomes in words."""

import io
import json
import uuid
import zipfile
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import quote

import httpx

from tests.support.service_processes import ended, open_course

#: The courses of every stack, in the place of {{C1}} and {{C2}}.
COURSES = {"C1": "course-v1:Field+ONE+2026", "C2": "course-v1:Field+TWO+2026"}
#: The courses of a source, in its own ids.
CROSSWALK = {
    "MATH-101": "C1",
    "MATH-101.A": "C1",
    "MATH-101.B": "C1",
    "CLS1": "C1",
    "BIO-7": "C2",
}
SOURCES = ("blackboard", "canvas", "clever", "moodle_flat", "moodle_users", "oneroster")


class Sent(NamedTuple):
    """What became of a file."""

    submission: dict[str, Any]
    outcomes: list[dict[str, Any]]

    @property
    def said(self) -> list[str]:
        """Returns each row's outcome with its reason, or with the rule of an invalid row."""
        return [told(row) for row in self.outcomes]

    def of(self, user: str) -> list[str]:
        """Returns the outcomes of one learner."""
        return [told(row) for row in self.outcomes if row["user"] == user]


def told(row: Mapping[str, Any]) -> str:
    """Returns an outcome in up to two words."""
    why = row.get("reason")
    if why == "invalid_row":
        why = row["errors"][0]["rule"]
    return f"{row['outcome']} {why}" if why else str(row["outcome"])


class FieldClient:
    """A client of a stack, with a word that no other test uses in its names."""

    def __init__(self, http: httpx.Client) -> None:
        self.http = http
        self.word = f"x{uuid.uuid4().hex[:8]}"

    def set_up(self) -> None:
        """Creates the courses and the crosswalk of each source."""
        for course_id in COURSES.values():
            accepted(self.http.put(f"/courses/{course_id}", json=open_course(course_id)))
        for source in SOURCES:
            self.map_ids(source, course={id_: COURSES[ours] for id_, ours in CROSSWALK.items()})

    def map_ids(self, source: str, **entries: Mapping[str, str]) -> None:
        """Adds entries to a crosswalk, by kind: from the source's id to ours."""
        rows = [
            {"kind": kind, "theirs": self.fill(theirs), "ours": self.fill(ours)}
            for kind, ids in entries.items()
            for theirs, ours in ids.items()
        ]
        accepted(self.http.patch(f"/crosswalks/{source}", json=rows))

    def fill(self, text: str) -> str:
        """Puts the courses and the word in their places."""
        for name, value in {**COURSES, "T": self.word}.items():
            text = text.replace(f"{{{{{name}}}}}", value)
        return text

    def learner(self, username: str, email: str | None = None) -> None:
        """Registers a learner."""
        body = {} if email is None else {"email": self.fill(email)}
        accepted(self.http.put(f"/learners/{quote(self.fill(username))}", json=body))

    def post(
        self,
        body: str | bytes,
        content_type: str = "text/csv",
        headers: Mapping[str, str] | None = None,
        **options: object,
    ) -> httpx.Response:
        """Sends a file; returns the answer."""
        return self.http.post(
            "/submissions",
            content=self.fill(body).encode() if isinstance(body, str) else body,
            headers={"Content-Type": content_type, **(headers or {})},
            params={name: self.fill(str(value)) for name, value in options.items()},
        )

    def send(self, body: str | bytes, content_type: str = "text/csv", **options: object) -> Sent:
        """Sends a file that is accepted, and waits until it is done."""
        answer = self.post(body, content_type, **options)
        assert answer.status_code == 202, answer.text
        path = f"/submissions/{answer.json()['submission_id']}"
        submission = ended(self.http, answer.json()["submission_id"])
        lines = self.http.get(f"{path}/outcomes", headers={"Accept": "application/x-ndjson"})
        return Sent(submission, [json.loads(line) for line in lines.text.splitlines()])

    def is_enrolled(self, user: str, course: str = "C1") -> bool | None:
        """Returns whether a learner's enrollment is active; None if there is none."""
        path = f"/enrollment/{quote(self.fill(user))},{COURSES[course]}"
        answer = self.http.get(path)
        assert answer.status_code == 200, answer.text
        return bool(answer.json()["is_active"]) if answer.content else None

    def enroll(self, **members: object) -> httpx.Response:
        """Asks for one enrollment in C1, and waits for its outcome."""
        given = {"course_id": COURSES["C1"], **members}
        return self.http.post("/enrollment", json=given, headers={"Prefer": "wait=30"})

    def bulk_enroll(self, identifiers: str, **form: object) -> list[dict[str, Any]]:
        """Enrolls by a list of Open edX's bulk enrollment; returns its results for C1."""
        body = {"action": "enroll", "courses": COURSES["C1"], "auto_enroll": True}
        answer = self.http.post(
            f"{root_of(self.http)}/api/bulk_enroll/v1/bulk_enroll",
            json={**body, "identifiers": self.fill(identifiers), **form},
            headers={"Prefer": "wait=30"},
        )
        assert answer.status_code == 200, answer.text
        results: list[dict[str, Any]] = answer.json()["courses"][COURSES["C1"]]["results"]
        return results


def root_of(http: httpx.Client) -> str:
    """Returns the address of a client's service."""
    return str(http.base_url.copy_with(path=""))


def accepted(answer: httpx.Response) -> None:
    """Fails unless an answer is good."""
    assert answer.is_success, answer.text


def zipped(files: Mapping[str, bytes | str]) -> bytes:
    """Returns an archive; names are stored as they are, also with a backslash."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as out:
        for name, content in files.items():
            out.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
    return packed.getvalue()
