"""Real answers of the running application, validated against the OpenAPI document."""

import io
import zipfile

import pytest

from api_gateway.openapi import examples
from api_gateway.openapi.problem_codes import meanings
from tests.support import openapi_document
from tests.support.gateway import AUDIT, VERIFIED, ago, fresh
from tests.support.openapi_document import BASE, COURSE_ID, SAMPLES, checked

ENROLLMENT, ONE = f"{BASE}/enrollment", f"{BASE}/enrollment/{{username}},{{course_id}}"
OWN = f"{BASE}/enrollment/{{course_id}}"
SUBMISSIONS, SUBMISSION = f"{BASE}/submissions", f"{BASE}/submissions/{{id}}"
DETAILS = f"{BASE}/course/{{course_id}}"
COURSES, COURSE = f"{BASE}/courses", f"{BASE}/courses/{{course_id}}"
LEARNERS, LEARNER = f"{BASE}/learners", f"{BASE}/learners/{{username}}"
INVITATION = f"{BASE}/invitations/{{course_id}}/{{email}}"
CROSSWALK, MISSING = f"{BASE}/crosswalks/{{source}}", f"{BASE}/crosswalks/{{source}}/missing"
BULK_ENROLL = "/api/bulk_enroll/v1/bulk_enroll"
CSV_BODY, CSV = {"Content-Type": "text/csv"}, {"headers": {"Accept": "text/csv"}}
NDJSON = {"headers": {"Accept": "application/x-ndjson"}}
EVENTS = {"headers": {"Accept": "text/event-stream"}}
HEARD = {"headers": {"Accept": "text/event-stream", "Last-Event-ID": "done-3"}}
WAIT = {"Prefer": "wait=20"}


@pytest.fixture(scope="module")
def closed():
    return openapi_document.closed_document()


@pytest.fixture
def ask(small, closed):
    """Makes a call that the document describes, and validates the answer."""

    def asked(who, method, path, status, *, call=small.call, query="", **more):
        names = {"course_id": COURSE_ID} | {
            name: more.pop(name) for name in SAMPLES if name in more
        }
        caller = getattr(small, who) if isinstance(who, str) else who
        answer = call(method, path.format(**names) + query, caller, **more)
        return checked(closed, path, method, answer, status)

    return asked


@pytest.fixture
def ask_all(ask):
    """Makes calls in order: who, method, path, status, and what else the call needs."""

    def asked(rows, **one):
        for who, method, path, status, more in rows:
            ask(who, method, path, status, **one, **more)

    return asked


@pytest.mark.parametrize(
    ("path", "status"),
    [
        (path, 200)
        for path in (
            "/livez",
            "/readyz",
            "/openapi.json",
            "/docs",
            "/docs/reasons",
            "/docs/style.css",
        )
    ],
)
def test_answers_of_the_service_itself(ask, path, status):
    ask({}, "GET", path, status)


def test_metrics(ask):
    ask("admin", "GET", "/metrics", 200)


def test_answers_about_one_enrollment(small, ask, ask_all):
    course_id, user = small.course(AUDIT, VERIFIED, name="Algebra", cohorts=("A",)), fresh("ada")
    attributes = [{"namespace": "a", "name": "b", "value": "c"}]
    body = {"user": user, "course_id": course_id, "cohort": "A"}
    body["enrollment_attributes"] = attributes
    with_key = {"json": body, "headers": {"Idempotency-Key": user}}
    id_ = ask("server", "POST", ENROLLMENT, 202, **with_key).json["submission_id"]
    ask("server", "GET", SUBMISSION, 200, id=id_)
    small.work()
    ask("server", "POST", ENROLLMENT, 202, **with_key)
    ask("server", "POST", ENROLLMENT, 200, call=small.answered, json=body, headers=WAIT)
    done = ask("server", "GET", SUBMISSION, 200, id=id_).json
    assert done["enrollment"]["course_details"]["course_name"] == "Algebra"
    own = small.learner(user)
    ask_all(
        (
            ("server", "GET", ENROLLMENT, 200, {"query": f"?user={user}"}),
            ("server", "GET", ONE, 200, {"username": user}),
            (own, "GET", OWN, 200, {}),
            (own, "GET", OWN + "/history", 200, {}),
            (own, "GET", ONE, 404, {"username": "somebody-else"}),
            ("staff", "GET", f"{BASE}/enrollments", 200, {"query": "?page_size=1"}),
        ),
        course_id=course_id,
    )
    assert ask(own, "GET", OWN, 200).content == b""
    events = ask("server", "GET", ONE + "/history", 200, username=user, course_id=course_id).json
    assert events["events"][0]["data"]["after"]["attributes"] == attributes
    assert ask("admin", "GET", f"{BASE}/changes", 200).json["changes"]


@pytest.mark.parametrize(
    ("status", "code", "course", "body"),
    [
        (400, "enrollment_closed", {"enrollment_end": ago(days=1)}, {}),
        (400, "mode_unavailable", {}, {"mode": "gold"}),
        (400, "course_full", {"capacity": 0}, {}),
        (400, "cohort_not_found", {}, {"cohort": "nowhere"}),
        (400, "course_not_found", None, {"course_id": "course-v1:No+Such+One"}),
        (400, "invalid_row", None, {"course_id": "no key"}),
        (400, "invalid_row", None, {"is_active": "yes", "force_enrollment": 1}),
        (406, "learner_not_found", None, {"user": None}),
        (403, "not_permitted", None, {"requested_at": "2026-01-01T00:00:00Z"}),
    ],
)
def test_refusals_of_one_enrollment(small, ask, status, code, course, body):
    course_id = COURSE_ID if course is None else small.course(AUDIT, **course)
    sent = {"user": fresh("ada"), "course_id": course_id} | body

    answer = ask("server", "POST", ENROLLMENT, status, call=small.answered, json=sent, headers=WAIT)

    assert answer.json["code"] == code


def test_refusals_of_callers(small, ask):
    body = {"user": fresh("bob"), "course_id": COURSE_ID}

    assert ask(small.learner("ada"), "POST", ENROLLMENT, 404, json=body).content == b""
    assert ask({}, "POST", ENROLLMENT, 401, json=body).json["code"] == "not_authenticated"


def test_answers_about_submissions(small, ask, ask_all):
    course_id, late = small.course(AUDIT), small.course(AUDIT, enrollment_end=ago(days=1))
    rows = f"user,course_id,note\nann,{course_id},x\nbob,{late},y\n,,z\n"
    upload = {"body": rows, "headers": CSV_BODY}
    id_ = ask("admin", "POST", SUBMISSIONS, 202, query="?default_mode=audit", **upload).json[
        "submission_id"
    ]
    small.work()
    done = ask("admin", "GET", SUBMISSION, 200, id=id_)
    assert done.json["result"] == "partial"
    unchanged = {"headers": {"If-None-Match": done.headers["etag"], "Prefer": "wait=1"}}
    outcomes = ask("admin", "GET", SUBMISSION + "/outcomes", 200, id=id_).json["outcomes"]
    assert [one["outcome"] for one in outcomes] == ["enrolled", "refused", "invalid"]
    ask_all(
        (
            ("admin", "GET", SUBMISSION, 304, unchanged),
            ("admin", "GET", SUBMISSION + "/outcomes", 200, CSV),
            ("admin", "GET", SUBMISSION + "/outcomes", 200, NDJSON),
            ("admin", "POST", SUBMISSION + "/cancel", 409, {}),
            ("server", "GET", SUBMISSION, 404, {}),
            ("admin", "GET", SUBMISSION + "/events", 200, {}),
            ("admin", "GET", SUBMISSION, 200, EVENTS),
            ("admin", "GET", SUBMISSION + "/events", 204, HEARD),
            ("admin", "GET", SUBMISSION, 204, HEARD),
            ("server", "GET", SUBMISSION + "/events", 404, EVENTS),
        ),
        id=id_,
    )
    ask("admin", "GET", SUBMISSIONS, 200, query="?limit=1")
    again = ask("admin", "POST", SUBMISSIONS, 202, **upload).json["submission_id"]
    ask("admin", "POST", SUBMISSION + "/cancel", 202, id=again)
    small.work()
    assert ask("admin", "GET", SUBMISSION, 200, id=again).json["state"] == "cancelled"


def test_answers_about_archives(small, ask, ask_all):
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as files:
        files.writestr("a.csv", f"user,course_id\nann,{small.course(AUDIT)}\n")
        files.writestr("b.ndjson", '{"user": "bob"}\n')
    upload = {"body": archive.getvalue(), "headers": {"Content-Type": "application/zip"}}
    id_ = ask("admin", "POST", SUBMISSIONS, 202, query="?source=canvas", **upload).json[
        "submission_id"
    ]
    small.work()
    assert len(ask("admin", "GET", SUBMISSION, 200, id=id_).json["files"]) == 2
    outcomes = ask("admin", "GET", SUBMISSION + "/outcomes", 200, id=id_).json["outcomes"]
    assert {one["file"] for one in outcomes} == {"a.csv", "b.ndjson"}
    ask_all((("admin", "GET", SUBMISSION + "/outcomes", 200, NDJSON),), id=id_)


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
def test_refusals_of_files(ask, status, body, kind, query):
    headers = {"Content-Type": kind}
    answer = ask("admin", "POST", SUBMISSIONS, status, body=body, headers=headers, query=query)

    assert answer.json["code"] in meanings()


def test_answers_about_courses(ask, ask_all):
    one = {"course_id": f"course-v1:Uni+{fresh('C')}+2026"}
    course = {**examples.NEW_COURSE_EXAMPLE, **one}
    ask("admin", "PUT", COURSE, 201, json=course, **one)
    stored = ask("admin", "GET", COURSE, 200, **one).json
    details = ask({}, "GET", DETAILS, 200, **one)
    unchanged = {"headers": {"If-None-Match": details.headers["etag"]}}
    ask({}, "GET", DETAILS, 400, course_id="course-v1:No+Such+One")
    ask_all(
        (
            ({}, "GET", DETAILS, 304, unchanged),
            ("admin", "PUT", COURSE, 200, {"json": stored}),
            ("admin", "PUT", COURSE, 400, {"json": {"capacity": -1, "what": 1}}),
            ("admin", "PATCH", COURSE, 200, {"json": {"capacity": None}}),
            ("admin", "POST", COURSES, 200, {"json": [course]}),
            ("admin", "POST", COURSES, 400, {"json": [course, course]}),
            ("admin", "GET", COURSES, 200, {"query": "?limit=1"}),
            ("server", "DELETE", COURSE, 403, {}),
            ("admin", "DELETE", COURSE, 204, {}),
            ("admin", "GET", COURSE, 404, {}),
        ),
        **one,
    )


def test_answers_about_learners(ask_all):
    user = fresh("ada")
    learner = {**examples.LEARNER_EXAMPLE, "username": user, "email": f"{user}@example.org"}
    other = {**learner, "username": fresh("bob")}
    ask_all(
        (
            ("admin", "PUT", LEARNER, 201, {"json": learner}),
            ("admin", "PUT", LEARNER, 200, {"json": learner}),
            ("admin", "POST", LEARNERS, 200, {"json": {"learners": [learner]}}),
            ("admin", "POST", LEARNERS, 409, {"json": [other]}),
            ("admin", "GET", LEARNER, 200, {}),
            ("admin", "DELETE", LEARNER, 204, {}),
            ("admin", "GET", LEARNER, 404, {}),
        ),
        username=user,
    )


def test_answers_about_roles_and_retirement(small, ask, ask_all):
    user, course_id = small.person(is_retiring=True), small.course(AUDIT)
    role, body = f"{BASE}/roles/{{course_id}}/{{username}}", {"json": {"username": user}}
    ask_all(
        (
            ("admin", "PUT", role, 201, {"json": {"role": "staff"}}),
            ("admin", "PUT", role, 200, {"json": {"role": "support"}}),
            ("admin", "PUT", role, 400, {"json": {"role": "owner"}}),
            ("admin", "GET", role, 200, {}),
            (small.learner(user), "GET", f"{BASE}/roles", 200, {}),
            ("server", "GET", f"{BASE}/roles", 400, {}),
            ("admin", "DELETE", role, 204, {}),
            ("admin", "GET", role, 404, {}),
            ("admin", "POST", f"{BASE}/unenroll", 204, body),
            ("admin", "POST", f"{BASE}/unenroll", 404, {}),
            ("server", "POST", f"{BASE}/unenroll", 403, body),
        ),
        username=user,
        course_id=course_id,
    )
    small.enroll(small.server, course_id, user)
    async_ = {"headers": {"Prefer": "respond-async", "Idempotency-Key": user}}
    ask("admin", "POST", f"{BASE}/unenroll", 202, **body, **async_)
    small.work()
    done = ask("admin", "POST", f"{BASE}/unenroll", 200, headers={"Idempotency-Key": user}, **body)
    assert done.json == ["Uni"]


def test_answers_of_open_edx_beside_enrollments(small, ask, ask_all):
    email = f"{fresh('guest')}@example.org"
    user = small.person(email=email)
    own, body = small.learner(user), {"email": email, "course_id": small.course(AUDIT)}
    allowed, accounts = f"{BASE}/enrollment_allowed", "/api/user/v1/accounts"
    catalog, me = "/api/courses/v1/courses", "/api/user/v1/me"
    ask_all(
        (
            ("staff", "POST", allowed, 201, {"json": body, "headers": {"Idempotency-Key": user}}),
            ("staff", "POST", allowed, 409, {"json": body}),
            ("staff", "GET", allowed, 200, {"query": f"?email={email}"}),
            ("staff", "DELETE", allowed, 204, {"json": body}),
            ("staff", "DELETE", allowed, 404, {"json": body}),
            ("staff", "DELETE", allowed, 400, {}),
            ("server", "GET", allowed, 403, {}),
            ("server", "GET", accounts, 200, {"query": f"?email={email}"}),
            (own, "GET", accounts, 404, {"query": "?username=somebody-else"}),
            (own, "GET", me, 200, {}),
            ("server", "GET", me, 401, {}),
            ("server", "GET", catalog, 200, {"query": "?page_size=1"}),
            ("server", "GET", catalog, 404, {"query": "?page=999999"}),
        )
    )


def test_answers_of_version_2(small, ask, ask_all):
    v2, user, course_id = "/api/enrollment/v2", small.person(is_retiring=True), small.course(AUDIT)
    own, body = small.learner(user), {"user": user, "course_id": course_id}
    ask(own, "POST", f"{v2}/enrollment", 200, call=small.answered, json=body, headers=WAIT)
    unknown = body | {"course_id": "course-v1:No+Such+One"}
    ask("server", "POST", f"{v2}/enrollment", 400, call=small.answered, json=unknown, headers=WAIT)
    by_email = {"email": f"{fresh('no')}@example.org", "course_id": course_id}
    ask("server", "POST", f"{v2}/enrollment", 404, call=small.answered, json=by_email, headers=WAIT)
    for one, own_one, details, leave in (
        ("enrollments/{username},{course_id}", "enrollments/{course_id}", "courses", "enrollment/"),
        ("enrollment/{username},{course_id}", "enrollment/{course_id}", "course", ""),
    ):
        ask_all(
            (
                (own, "GET", f"{v2}/{one}", 200, {}),
                (own, "GET", f"{v2}/{own_one}", 200, {}),
                (small.learner("eve"), "GET", f"{v2}/{one}", 404, {}),
                ({}, "GET", f"{v2}/{details}/{{course_id}}", 200, {}),
                ("staff", "POST", f"{v2}/{leave}unenroll", 400, {"json": {}}),
                ("staff", "POST", f"{v2}/{leave}unenroll", 404, {"json": {"username": "x"}}),
                ("server", "GET", f"{v2}/{leave}enrollment_allowed", 403, {}),
                ("staff", "GET", f"{v2}/{leave}enrollment_allowed", 200, {}),
            ),
            username=user,
            course_id=course_id,
        )
        ask({}, "GET", f"{v2}/{details}/{{course_id}}", 404, course_id="course-v1:No+Such+One")
    ask_all(
        (
            ("server", "POST", f"{v2}/enrollment", 202, {"json": body}),
            (own, "POST", f"{v2}/enrollment", 404, {"json": body | {"user": "eve"}}),
            (own, "GET", f"{v2}/enrollment", 200, {}),
            (own, "GET", f"{v2}/enrollment", 200, {"query": "?view=minimal&page_size=1"}),
            (own, "GET", f"{v2}/enrollment", 400, {"query": "?ordering=mode"}),
            (own, "GET", f"{v2}/enrollment", 404, {"query": "?page=9"}),
            ("staff", "GET", f"{v2}/enrollments", 200, {"query": "?page_size=1"}),
            ("staff", "GET", f"{v2}/enrollments", 200, {"query": f"?course_id={course_id}"}),
            ("staff", "GET", f"{v2}/enrollments", 400, {"query": "?course_id=1"}),
            ("staff", "GET", f"{v2}/enrollments", 404, {"query": "?cursor=x"}),
            (own, "GET", f"{v2}/enrollments", 403, {}),
            (own, "GET", f"{v2}/roles", 200, {"query": f"?course_id={course_id}"}),
            ("server", "GET", f"{v2}/roles", 400, {}),
        )
    )


def test_answers_about_eligibility(small, ask_all):
    path, user = f"{BASE}/eligibility/{{username}},{{course_id}}", fresh("ann")
    ask_all(
        (
            ("server", "GET", path, 200, {"course_id": small.course(AUDIT)}),
            ("server", "GET", path, 200, {"query": "?mode=gold"}),
            ("server", "GET", path, 200, {"course_id": small.course(AUDIT), "query": "?mode=x"}),
            ("server", "GET", path, 400, {"query": "?mood=gold"}),
            (small.learner("eve"), "GET", path, 404, {}),
        ),
        username=user,
    )


def test_answers_about_invitations(ask_all):
    ask_all(
        (
            ("server", "PUT", INVITATION, 201, {}),
            ("server", "PUT", INVITATION, 200, {"json": {"expires_at": "2026-11-01T00:00:00Z"}}),
            ("server", "PUT", INVITATION, 400, {"json": {"expires_at": "soon"}}),
            ("server", "GET", INVITATION, 200, {}),
            ("server", "DELETE", INVITATION, 204, {}),
            ("server", "GET", INVITATION, 404, {}),
        ),
        email=f"{fresh('guest')}@example.org",
    )


def test_answers_about_crosswalks(small, ask_all):
    entry = {"kind": "course", "theirs": "MATH-101", "ours": COURSE_ID}
    rows = "user,course_id\nann,NOT-MAPPED\n"
    submission = small.submit(rows, query_string="source=sis").json["submission_id"]
    ask_all(
        (
            ("admin", "PUT", CROSSWALK, 200, {"json": [entry]}),
            ("admin", "PATCH", CROSSWALK, 200, {"json": {"entries": [entry]}}),
            ("admin", "PATCH", CROSSWALK, 400, {"json": [{**entry, "ours": "no key"}]}),
            ("admin", "GET", CROSSWALK, 200, {}),
            ("admin", "GET", CROSSWALK, 200, CSV),
            ("admin", "GET", MISSING, 200, {"query": f"?submission={submission}"}),
            ("admin", "GET", MISSING, 400, {}),
        ),
        source="sis",
    )


def test_answers_of_bulk_enrollment(small, ask, ask_all):
    course_id, email = small.course(AUDIT, cohorts=("A",)), f"{fresh('p')}@example.org"
    identifiers = f"{small.person()} {email} nobody-{fresh('n')}"
    body = {"action": "enroll", "identifiers": identifiers, "courses": course_id, "cohorts": "A"}
    done = ask("admin", "POST", BULK_ENROLL, 200, call=small.answered, json=body)
    id_ = done.headers["location"].rpartition("/")[2]
    async_ = {"Prefer": "respond-async", "Idempotency-Key": fresh("key")}
    ask_all(
        (
            ("admin", "GET", SUBMISSION + "/outcomes", 200, {"id": id_}),
            ("admin", "POST", BULK_ENROLL, 202, {"json": body, "headers": async_}),
            ("admin", "POST", BULK_ENROLL, 400, {"json": {}}),
            ("server", "POST", BULK_ENROLL, 403, {"json": body}),
        )
    )
    small.work()
