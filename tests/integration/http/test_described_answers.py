"""Answers of the running application, checked by the description of the API."""

import json

import pytest

from api_gateway.openapi import examples
from api_gateway.openapi.problem_codes import meanings
from tests.support import described
from tests.support.described import BASE, COURSE_ID, SAMPLES, validator
from tests.support.gateway import AUDIT, VERIFIED, ago, fresh

#: Headers that HTTP itself or every page explains.
PLAIN_HEADERS = {
    "content-type",
    "content-length",
    "allow",
    "x-content-type-options",
    "referrer-policy",
}


@pytest.fixture(scope="module")
def closed():
    return described.closed_document()


def checked(closed, path, method, answer, status=None):
    """The answer, if the document knows one like it."""
    described = closed["paths"][path][method.lower()]["responses"]
    assert status in {None, answer.status_code}, answer.text
    assert str(answer.status_code) in described, answer.text
    known = described[str(answer.status_code)]
    names = {name.lower() for name in known.get("headers", {})} | PLAIN_HEADERS
    assert set(answer.headers) <= names
    if not answer.content:
        return answer
    media_type = answer.headers["content-type"].partition(";")[0]
    schema = known["content"][media_type]["schema"]
    if media_type in {"application/json", "application/problem+json"}:
        validator(closed, schema).validate(answer.json)
    if media_type == "application/x-ndjson":
        for line in answer.text.splitlines():
            validator(closed, {"$ref": "#/components/schemas/Outcome"}).validate(json.loads(line))
    return answer


@pytest.fixture
def ask(small, closed):
    """Makes a call that the document knows and checks the answer by it."""

    def asked(method, path, who, status, *, call=small.call, query="", **more):
        given = {
            "course_id": COURSE_ID,
            **{name: more.pop(name) for name in SAMPLES if name in more},
        }
        url = path.format(**given) + query
        return checked(closed, path, method, call(method, url, who, **more), status)

    return asked


def wish(course_id, user, **more):
    return {"user": user, "course_details": {"course_id": course_id}, **more}


WAIT = {"Prefer": "wait=20"}


def test_answers_about_one_enrollment_are_as_described(small, ask):
    course_id, user = small.course(AUDIT, VERIFIED, name="Algebra", cohorts=("A",)), fresh("ada")
    body = wish(
        course_id,
        user,
        cohort="A",
        enrollment_attributes=[{"namespace": "a", "name": "b", "value": "c"}],
    )
    accepted = ask(
        "POST",
        f"{BASE}/enrollment",
        small.server,
        202,
        json=body,
        headers={"Idempotency-Key": user},
    )
    ask("GET", f"{BASE}/submissions/{{id}}", small.server, 200, id=accepted.json["submission_id"])
    small.work()
    ask(
        "POST",
        f"{BASE}/enrollment",
        small.server,
        202,
        json=body,
        headers={"Idempotency-Key": user},
    )
    ask(
        "POST",
        f"{BASE}/enrollment",
        small.server,
        200,
        call=small.answered,
        json=body,
        headers=WAIT,
    )
    ask("GET", f"{BASE}/submissions/{{id}}", small.server, 200, id=accepted.json["submission_id"])
    ask("GET", f"{BASE}/enrollment", small.server, 200, query=f"?user={user}")
    one = {"username": user, "course_id": course_id}
    assert ask(
        "GET", f"{BASE}/enrollment/{{username}},{{course_id}}", small.server, 200, **one
    ).json
    events = ask(
        "GET", f"{BASE}/enrollment/{{username}},{{course_id}}/history", small.server, 200, **one
    )
    assert events.json["events"]
    own = small.learner(user)
    assert ask("GET", f"{BASE}/enrollment/{{course_id}}", own, 200, course_id=course_id).json
    assert ask(
        "GET", f"{BASE}/enrollment/{{course_id}}/history", own, 200, course_id=course_id
    ).json
    none = ask("GET", f"{BASE}/enrollment/{{course_id}}", own, 200)
    assert none.content == b""
    ask("GET", f"{BASE}/enrollment/{{username}},{{course_id}}", own, 404, username="somebody-else")
    assert ask("GET", f"{BASE}/enrollments", small.staff, 200, query="?page_size=1").json["results"]
    assert ask("GET", f"{BASE}/changes", small.admin, 200).json["changes"]


def test_refusals_of_one_enrollment_are_as_described(small, ask):
    def refused(status, course_id, who=small.server, **more):
        body = wish(course_id, fresh("ada")) | more
        answer = ask(
            "POST", f"{BASE}/enrollment", who, status, call=small.answered, json=body, headers=WAIT
        )
        return answer.json and answer.json["code"]

    closed_course = small.course(AUDIT, enrollment_end=ago(days=1))
    assert refused(400, closed_course) == "enrollment_closed"
    assert refused(400, small.course(AUDIT), mode="gold") == "mode_unavailable"
    assert refused(400, small.course(AUDIT, capacity=0)) == "course_full"
    assert refused(400, small.course(AUDIT), cohort="nowhere") == "cohort_not_found"
    assert refused(400, "course-v1:No+Such+One") == "course_not_found"
    assert refused(400, "no key") == "invalid_row"
    assert refused(400, COURSE_ID, is_active="yes", force_enrollment=1) == "invalid_row"
    assert refused(406, COURSE_ID, user=None) == "learner_not_found"
    assert refused(403, COURSE_ID, requested_at="2026-01-01T00:00:00Z") == "not_permitted"
    assert refused(404, COURSE_ID, who=small.learner("ada")) is None
    assert refused(401, COURSE_ID, who={}) == "not_authenticated"


def test_answers_about_submissions_are_as_described(small, ask):
    course_id, late = small.course(AUDIT), small.course(AUDIT, enrollment_end=ago(days=1))
    rows = f"user,course_id,note\nann,{course_id},x\nbob,{late},y\n,,z\n"
    csv = {"Content-Type": "text/csv"}
    accepted = ask(
        "POST",
        f"{BASE}/submissions",
        small.admin,
        202,
        body=rows,
        headers=csv,
        query="?default_mode=audit",
    )
    one = {"id": accepted.json["submission_id"]}
    small.work()
    done = ask("GET", f"{BASE}/submissions/{{id}}", small.admin, 200, **one)
    assert done.json["result"] == "partial"
    still = {"If-None-Match": done.headers["etag"], "Prefer": "wait=1"}
    ask("GET", f"{BASE}/submissions/{{id}}", small.admin, 304, headers=still, **one)
    outcomes = ask("GET", f"{BASE}/submissions/{{id}}/outcomes", small.admin, 200, **one)
    assert [found["outcome"] for found in outcomes.json["outcomes"]] == [
        "enrolled",
        "refused",
        "invalid",
    ]
    for form in ("text/csv", "application/x-ndjson"):
        ask(
            "GET",
            f"{BASE}/submissions/{{id}}/outcomes",
            small.admin,
            200,
            headers={"Accept": form},
            **one,
        )
    ask("GET", f"{BASE}/submissions", small.admin, 200, query="?limit=1")
    ask("POST", f"{BASE}/submissions/{{id}}/cancel", small.admin, 409, **one)
    ask("GET", f"{BASE}/submissions/{{id}}", small.server, 404, **one)
    again = ask("POST", f"{BASE}/submissions", small.admin, 202, body=rows, headers=csv)
    ask(
        "POST",
        f"{BASE}/submissions/{{id}}/cancel",
        small.admin,
        202,
        id=again.json["submission_id"],
    )
    small.work()


@pytest.mark.parametrize(
    ("status", "body", "kind", "query"),
    [
        (400, '[{"user": ', "application/json", ""),
        (400, b"\x1f\x8bno", "application/json", ""),
        (422, "a,b\n1,2\n", "text/csv", ""),
        (422, "", "text/csv", ""),
        (422, '{"requests": []}', "application/json", ""),
        (415, "x", "image/png", ""),
        (400, "user,course_id\n", "text/csv", "?on_error=panic"),
        (400, "user,course_id\n", "text/csv", "?what=ever"),
    ],
)
def test_refusals_of_files_are_as_described(small, ask, status, body, kind, query):
    headers = {"Content-Type": kind}
    answer = ask(
        "POST", f"{BASE}/submissions", small.admin, status, body=body, headers=headers, query=query
    )

    assert answer.json["code"] in meanings()


def test_answers_about_courses_learners_and_invitations_are_as_described(small, ask):
    one = {"course_id": f"course-v1:Uni+{fresh('C')}+2026"}
    course = {**examples.NEW_COURSE, **one}
    ask("PUT", f"{BASE}/courses/{{course_id}}", small.admin, 201, json=course, **one)
    kept = ask("GET", f"{BASE}/courses/{{course_id}}", small.admin, 200, **one).json
    ask("PUT", f"{BASE}/courses/{{course_id}}", small.admin, 200, json=kept, **one)
    ask(
        "PUT",
        f"{BASE}/courses/{{course_id}}",
        small.admin,
        400,
        json={"capacity": -1, "what": 1},
        **one,
    )
    ask("PATCH", f"{BASE}/courses/{{course_id}}", small.admin, 200, json={"capacity": None}, **one)
    ask("POST", f"{BASE}/courses", small.admin, 200, json=[course])
    ask("POST", f"{BASE}/courses", small.admin, 400, json=[course, course])
    ask("GET", f"{BASE}/courses", small.admin, 200, query="?limit=1")
    details = ask("GET", f"{BASE}/course/{{course_id}}", {}, 200, **one)
    still = {"If-None-Match": details.headers["etag"]}
    ask("GET", f"{BASE}/course/{{course_id}}", {}, 304, headers=still, **one)
    ask("GET", f"{BASE}/course/{{course_id}}", {}, 400, course_id="course-v1:No+Such+One")
    ask("DELETE", f"{BASE}/courses/{{course_id}}", small.server, 403, **one)
    ask("DELETE", f"{BASE}/courses/{{course_id}}", small.admin, 204, **one)
    ask("GET", f"{BASE}/courses/{{course_id}}", small.admin, 404, **one)

    user = fresh("ada")
    who = {"username": user}
    learner = {**examples.LEARNER, "username": user, "email": f"{user}@example.org"}
    ask("PUT", f"{BASE}/learners/{{username}}", small.admin, 201, json=learner, **who)
    ask("PUT", f"{BASE}/learners/{{username}}", small.admin, 200, json=learner, **who)
    ask("POST", f"{BASE}/learners", small.admin, 200, json={"learners": [learner]})
    ask("POST", f"{BASE}/learners", small.admin, 409, json=[{**learner, "username": fresh("bob")}])
    ask("GET", f"{BASE}/learners/{{username}}", small.admin, 200, **who)
    ask("DELETE", f"{BASE}/learners/{{username}}", small.admin, 204, **who)
    ask("GET", f"{BASE}/learners/{{username}}", small.admin, 404, **who)

    path = f"{BASE}/invitations/{{course_id}}/{{email}}"
    guest = {**one, "email": f"{user}@example.org"}
    ask("PUT", path, small.server, 201, **guest)
    ask("PUT", path, small.server, 200, json={"expires_at": "2026-11-01T00:00:00Z"}, **guest)
    ask("PUT", path, small.server, 400, json={"expires_at": "soon"}, **guest)
    ask("GET", path, small.server, 200, **guest)
    ask("DELETE", path, small.server, 204, **guest)
    ask("GET", path, small.server, 404, **guest)


def test_answers_of_the_service_itself_are_as_described(small, ask):
    for path in ("/livez", "/readyz", "/openapi.json", "/docs", "/docs/reasons"):
        ask("GET", path, {}, 200)


def test_answers_to_lists_in_upstream_s_form_are_as_described(small, ask):
    path = "/api/bulk_enroll/v1/bulk_enroll"
    course_id, email = small.course(AUDIT, cohorts=("A",)), f"{fresh('p')}@example.org"
    identifiers = f"{small.person()} {email} nobody-{fresh('n')}"
    body = {"action": "enroll", "identifiers": identifiers, "courses": course_id, "cohorts": "A"}
    done = ask("POST", path, small.admin, 200, call=small.answered, json=body)
    place = done.headers["location"]
    outcomes = f"{BASE}/submissions/{{id}}/outcomes"
    ask("GET", outcomes, small.admin, 200, id=place.rpartition("/")[2])
    at_once = {"Prefer": "respond-async", "Idempotency-Key": fresh("key")}
    ask("POST", path, small.admin, 202, json=body, headers=at_once)
    small.work()
    ask("POST", path, small.admin, 400, json={})
    ask("POST", path, small.server, 403, json=body)


def test_events_are_as_described(small, ask):
    text = f"user,course_id\n{fresh('ann')},{small.course(AUDIT)}\n"
    id_ = small.submit(text, query_string="dry_run=true").json["submission_id"]
    for path, accept in ((f"{BASE}/submissions/{{id}}/events", "*/*"), (f"{BASE}/submissions/{{id}}", "text/event-stream")):  # fmt: skip
        headers = {"Accept": accept}
        ask("GET", path, small.admin, 200, id=id_, headers=headers)
        heard = headers | {"Last-Event-ID": "done-1"}
        ask("GET", path, small.admin, 204, id=id_, headers=heard)
        ask("GET", path, small.server, 404, id=id_, headers=headers)
