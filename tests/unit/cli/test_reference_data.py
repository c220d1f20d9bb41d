"""Courses, learners, invitations, crosswalks and enrollments from the command line."""

import json

import pytest

from tests.support.scripted_server import DONE, FAILED, ID, QUEUED, Answer

COURSE = "course-v1:A+B+C"
NDJSON = "application/x-ndjson"


@pytest.fixture
def run(enroll, service):
    def call(*words, **more):
        return enroll(*words, "--url", service.url, **more)

    return call


@pytest.mark.parametrize(
    ("name", "kind"),
    [("a.json", "application/json"), ("a.ndjson", NDJSON), ("a", "application/json")],
)
def test_courses_are_changed_from_a_file(run, service, tmp_path, name, kind):
    (tmp_path / name).write_text("[]")
    kind = "application/json" if name == "a.ndjson" else kind  # a list is JSON, however it is named
    saved = {"saved": 0, "created": [], "changed": [], "unchanged": 0}
    service.on("PATCH", "/courses", Answer(200, saved))

    result = run("courses", "load", tmp_path / name)

    assert result.stdout == "0 courses: nothing to do.\n"
    assert service.heard[0].headers["content-type"] == kind


def test_what_was_changed_is_said(run, service):
    window = {
        "before": {"enrollment_start": "2027-01-01T00:00:00Z"},
        "after": {"enrollment_start": None},
    }
    modes = [{"slug": "audit", "min_price": 0}], [{"slug": "audit", "min_price": 1}]
    more = {
        "before": {
            "course_modes": modes[0],
            "cohorts": ["A"],
            "invite_only": False,
            "course_name": "",
        },
        "after": {"course_modes": modes[1], "cohorts": [], "invite_only": True, "course_name": "X"},
    }
    saved = {
        "saved": 5,
        "created": ["new1", "new2"],
        "changed": [{"course_id": COURSE, **window}, {"course_id": "c2", **more}],
        "unchanged": 1,
    }
    service.on("PATCH", "/courses", Answer(200, saved))

    assert run("courses", "load", "-", input="[]").stdout.splitlines() == [
        "5 courses: 2 new, 2 changed, 1 unchanged.",
        "  new1: new",
        "  new2: new",
        f"  {COURSE}: enrollment_start 2027-01-01T00:00:00Z → none",
        "  c2: course_modes changed, cohorts A → none, invite_only false → true, course_name (empty) → X",
    ]
    assert json.loads(run("courses", "load", "-", "--json", input="[]").stdout) == saved


def test_the_many_changes_of_a_large_file_are_cut(run, service):
    names = [f"c{number}" for number in range(60)]
    saved = {"saved": 60, "created": names, "changed": [], "unchanged": 0}
    service.on("PATCH", "/courses", Answer(200, saved))

    lines = run("courses", "load", "-", input="[]").stdout.splitlines()

    assert (len(lines), lines[-1]) == (52, "  … and 10 more (--json prints all)")


def test_courses_are_replaced_on_request(run, service):
    service.on("POST", "/courses", Answer(200, {"saved": 1}))

    assert run("courses", "load", "-", "--replace", input="[]").stdout == "1 course saved.\n"


def test_a_csv_file_of_courses_travels_as_ndjson(run, service):
    service.on("PATCH", "/courses", Answer(200, {"saved": 1}))

    run("courses", "load", "-", input=f"course_id,capacity,modes\n{COURSE},5,audit\n")

    assert service.heard[0].headers["content-type"] == NDJSON
    assert service.heard[0].body.startswith(b"\n{")
    assert json.loads(service.heard[0].body) == {
        "course_id": COURSE,
        "capacity": 5,
        "course_modes": [{"slug": "audit"}],
    }


def test_a_csv_file_of_something_else_is_refused_and_not_sent(run, service, rows):
    result = run("courses", "load", rows)

    assert result.exit_code == 5
    assert "unknown column 'user'" in result.stderr
    assert service.heard == []


def test_what_list_prints_is_loaded_back(run, service):
    course = {"course_id": COURSE, "course_name": 'A "b"', "seats_taken": 1, "capacity": None}
    service.on("GET", "/courses", Answer(200, {"courses": [course], "next": None}))
    service.on("PATCH", "/courses", Answer(200, {"saved": 1}))

    for words in ((), ("--json",)):
        run("courses", "load", "-", input=run("courses", "list", *words).stdout)

    table, document = (heard.body for heard in service.heard if heard.method == "PATCH")
    assert json.loads(table) == {"course_id": COURSE, "course_name": 'A "b"', "capacity": None}
    assert json.loads(document) == {"courses": [course]}


def test_a_course_is_deleted(run, service):
    service.on("DELETE", f"/courses/{COURSE}", Answer(204))

    assert run("courses", "delete", COURSE).stdout == f"{COURSE} is deleted.\n"
    assert json.loads(run("courses", "delete", COURSE, "--json").stdout) == {"deleted": COURSE}


def test_learners_are_loaded_shown_and_deleted(run, service):
    ada = {"username": "ada", "email": None, "is_active": True, "is_staff": False}
    service.on("POST", "/learners", Answer(200, {"saved": 1}))
    service.on("GET", "/learners/ada", Answer(200, ada))
    service.on("DELETE", "/learners/ada", Answer(204))

    file = "username,email,is_staff,retiring\nada,none,no,yes\n"
    assert run("learners", "load", "-", input=file).stdout == "1 learner saved.\n"
    assert json.loads(run("learners", "load", "-", "--json", input=file).stdout) == {"saved": 1}
    assert json.loads(run("learners", "show", "ada").stdout) == ada
    assert run("learners", "delete", "ada").stdout == "ada is deleted.\n"
    assert json.loads(run("learners", "delete", "ada", "--json").stdout) == {"deleted": "ada"}
    sent = json.loads(service.heard[0].body)
    assert sent == {"username": "ada", "email": None, "is_staff": False, "retiring": True}


def test_invitations_are_added_shown_and_removed(run, service):
    path = f"/invitations/{COURSE}/ada@example.org"
    invitation = {"course_id": COURSE, "email": "ada@example.org", "expires_at": None}
    service.on("PUT", path, Answer(201, invitation), Answer(200, {**invitation, "expires_at": "X"}))
    service.on("GET", path, Answer(200, invitation))
    service.on("DELETE", path, Answer(204))
    names = (COURSE, "ada@example.org")

    assert run("invitations", "add", *names).stdout == f"ada@example.org is invited to {COURSE}.\n"
    added = run("invitations", "add", *names, "--expires-at", "X", "--auto-enroll")
    assert added.stdout == f"ada@example.org is invited to {COURSE} until X.\n"
    assert json.loads(service.heard[1].body) == {"expires_at": "X", "auto_enroll": True}
    assert json.loads(run("invitations", "add", *names, "--json").stdout)["expires_at"] == "X"
    assert json.loads(run("invitations", "show", *names).stdout) == invitation
    assert "no longer invited" in run("invitations", "remove", *names).stdout
    assert json.loads(run("invitations", "remove", *names, "--json").stdout)["removed"]


def test_crosswalks_are_shown_loaded_and_completed(run, service):
    entry = {"kind": "course", "theirs": "M,1", "ours": COURSE}
    page = {"source": "sis", "entries": [entry], "next": None}
    service.on("GET", "/crosswalks/sis", Answer(200, b"kind,theirs,ours\n"), Answer(200, page))
    service.on("PATCH", "/crosswalks/sis", Answer(200, {"saved": 2}))
    service.on("PUT", "/crosswalks/sis", Answer(200, {"saved": 1}))
    missing = b"kind,theirs,ours\r\nlearner,471,\r\n"
    service.on("GET", "/crosswalks/sis/missing", Answer(200, missing))

    assert run("crosswalks", "show", "sis").stdout == "kind,theirs,ours\n"
    assert json.loads(run("crosswalks", "show", "sis", "--json").stdout) == {"entries": [entry]}
    assert (
        run("crosswalks", "load", "sis", "-", input="kind,theirs,ours\n").stdout
        == "2 entries saved.\n"
    )
    assert (
        run("crosswalks", "load", "sis", "-", "--replace", input="[]").stdout == "1 entry saved.\n"
    )
    assert json.loads(run("crosswalks", "load", "sis", "-", "--json", input="[]").stdout) == {
        "saved": 2
    }
    assert run("crosswalks", "missing", "sis", ID).stdout_bytes == missing
    assert json.loads(run("crosswalks", "missing", "sis", ID, "--json").stdout) == {
        "missing": [{"kind": "learner", "theirs": "471"}]
    }


def test_an_enrollment_is_shown(run, service):
    service.on("GET", f"/enrollment/ada,{COURSE}", Answer(200, {"mode": "audit"}), Answer(200, b""))

    assert json.loads(run("enrollments", "show", "ada", COURSE).stdout) == {"mode": "audit"}
    missing = run("enrollments", "show", "ada", COURSE)

    assert missing.exit_code == 2
    assert f"ada has no enrollment in {COURSE}." in missing.stderr


def test_enrollments_are_listed_page_by_page(run, service):
    row = {"user": "ada", "course_id": COURSE, "mode": "audit", "is_active": True, "created": "X"}
    first = {"results": [row, row], "next": "http://s/enrollments?cursor=abc&page_size=3"}
    service.on(
        "GET",
        "/enrollments",
        Answer(200, first),
        Answer(200, {"results": [row, row], "next": None}),
    )

    words = ("--user", "ada", "--course-id", COURSE, "--limit", 3)
    lines = run("enrollments", "list", *words).stdout.splitlines()

    assert lines == [
        "user\tcourse_id\tmode\tis_active\tcreated",
        *[f"ada\t{COURSE}\taudit\ttrue\tX"] * 3,
    ]
    assert [heard.params for heard in service.heard] == [
        {"page_size": "3", "username": "ada", "course_id": COURSE},
        {"page_size": "1", "username": "ada", "course_id": COURSE, "cursor": "abc"},
    ]
    assert len(json.loads(run("enrollments", "list", "--json").stdout)["enrollments"]) == 2


@pytest.mark.parametrize(
    ("words", "request_body"),
    [
        (["enroll", "ada", COURSE], {"user": "ada", "is_active": True}),
        (
            ["enroll", "ada", COURSE, "--mode", "verified", "--force"],
            {"user": "ada", "is_active": True, "mode": "verified", "force_enrollment": True},
        ),
        (["unenroll", "a@b.org", COURSE, "--by-email"], {"email": "a@b.org", "is_active": False}),
    ],
)
def test_one_enrollment_is_requested_and_waited_for(run, service, words, request_body):
    outcome = {"user": "ada", "outcome": "enrolled", "mode": "audit"}
    service.on("POST", "/enrollment", Answer(202, QUEUED))
    service.on(
        "GET", f"/submissions/{ID}", Answer(200, QUEUED), Answer(200, {**DONE, "outcome": outcome})
    )

    result = run("enrollments", *words)

    assert (result.exit_code, result.stdout) == (0, f"ada, {COURSE}: enrolled (audit).\n")
    assert json.loads(service.heard[0].body) == {"course_id": COURSE, **request_body}
    assert json.loads(run("enrollments", *words, "--json").stdout) == outcome


def test_one_enrollment_that_is_refused_is_code_one(run, service):
    outcome = {"user": "ada", "outcome": "refused", "reason": "course_full", "message": "Full."}
    service.on("POST", "/enrollment", Answer(202, QUEUED))
    service.on("GET", f"/submissions/{ID}", Answer(200, {**FAILED, "outcome": outcome}))

    result = run("enrollments", "enroll", "ada", COURSE)

    assert (result.exit_code, result.stdout) == (1, f"ada, {COURSE}: refused. course_full. Full.\n")
