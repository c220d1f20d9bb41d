"""POST unenroll/: a retiring learner leaves every course, through intake, worker and outcomes."""

from urllib.parse import urlencode

import pytest

from intake_store.upload import MAX_GROUPED_ROWS
from tests.support.gateway import AUDIT, fresh

NOT_SPECIFIED = "Username not specified."
NO_REQUEST = "No retirement request status for username."
ORGS = ["org", "org", "org2", "org3"]
FORM = "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data; boundary=xx"


def ask(gateway, who=None, *, path="unenroll/", **more):
    return gateway.answered("POST", path, who or gateway.staff, **more)


def active(gateway, user):
    found = gateway.get(f"enrollments?username={user}", gateway.admin).json["results"]
    return [one["is_active"] for one in found]


@pytest.fixture
def retiring(gateway):
    """A retiring learner with four active enrollments."""
    user = gateway.person(is_retiring=True)
    courses = [
        gateway.course(AUDIT, course_id=f"course-v1:{org}+{fresh('C')}+1", enrollment_end=None)
        for org in ORGS
    ]
    gateway.submit("user,course_id\n" + "".join(f"{user},{course}\n" for course in courses))
    assert active(gateway, user) == [True] * 4
    return user


@pytest.mark.parametrize("path", ["unenroll", "unenroll/"])
@pytest.mark.parametrize("kind", ["staff", "admin"])
def test_a_retiring_learner_leaves_all_courses_and_the_orgs_are_named_once(
    gateway, retiring, path, kind
):
    answer = ask(gateway, getattr(gateway, kind), path=path, json={"username": retiring})
    assert (answer.status_code, answer.json) == (200, ["org", "org2", "org3"])
    assert answer.headers["content-type"] == "application/json"
    assert active(gateway, retiring) == [False] * 4
    again = ask(gateway, json={"username": retiring})
    assert (again.status_code, again.content) == (204, b"")
    assert "content-type" not in again.headers


@pytest.mark.parametrize("content_type", [FORM, MULTIPART, "application/JSON"])
def test_the_body_may_be_a_form(gateway, retiring, content_type):
    body = {
        FORM: urlencode({"username": retiring}),
        MULTIPART: (
            '--xx\r\nContent-Disposition: form-data; name="username"\r\n\r\n'
            f"{retiring}\r\n--xx--\r\n"
        ),
    }.get(content_type, f'{{"username": "{retiring}"}}')
    answer = ask(gateway, body=body, headers={"Content-Type": content_type})
    assert (answer.status_code, answer.json) == (200, ["org", "org2", "org3"])


def test_withdrawals_are_outcomes_and_events_of_a_submission(gateway, retiring):
    answer = ask(gateway, json={"username": retiring})
    where = answer.headers["location"]
    status = gateway.get(where, gateway.staff).json
    assert (status["state"], status["result"]) == ("done", "succeeded")
    assert status["counts"]["deactivated"] == 4
    assert status["options"] == {"on_error": "abort", "reason": "retirement"}
    outcomes = gateway.get(f"{where}/outcomes", gateway.staff).json["outcomes"]
    assert {(one["user"], one["outcome"]) for one in outcomes} == {(retiring, "deactivated")}
    course_id = outcomes[0]["course_id"]
    history = gateway.get(f"enrollment/{retiring},{course_id}/history", gateway.admin).json
    assert [event["type"] for event in history["events"]][-1] == "enrollment.deactivated"


def test_a_learner_leaves_more_courses_than_one_group_commit_takes(gateway):
    user = gateway.person(is_retiring=True)
    courses = [gateway.course(AUDIT) for _ in range(MAX_GROUPED_ROWS + 5)]
    gateway.submit("user,course_id\n" + "".join(f"{user},{course}\n" for course in courses))
    answer = ask(gateway, json={"username": user})
    assert (answer.status_code, answer.json) == (200, ["Uni"])
    assert active(gateway, user) == [False] * len(courses)


@pytest.mark.parametrize("body", [{}, {"user": "ann"}, None])
def test_without_a_username_it_is_404_with_a_string(gateway, body):
    more = {} if body is None else {"json": body}
    answer = ask(gateway, **more)
    assert (answer.status_code, answer.json) == (404, NOT_SPECIFIED)
    assert answer.headers["content-type"] == "application/json"


@pytest.mark.parametrize("named", ["", None, "made-up", 7, ["ann"]])
def test_an_unknown_username_is_404_with_a_string(gateway, named):
    answer = ask(gateway, json={"username": named})
    assert (answer.status_code, answer.json) == (404, NO_REQUEST)
    assert answer.headers["content-type"] == "application/json"
    assert "location" not in answer.headers


def test_a_username_that_cannot_be_stored_is_404_with_a_string(gateway):
    answer = ask(gateway, body="username=a%00b", headers={"Content-Type": FORM})
    assert (answer.status_code, answer.json) == (404, NO_REQUEST)


def test_a_learner_who_is_not_retiring_stays_in_every_course(gateway):
    user = gateway.person()
    gateway.submit(f"user,course_id\n{user},{gateway.course(AUDIT)}\n")
    answer = ask(gateway, json={"username": user})
    assert (answer.status_code, answer.json) == (404, NO_REQUEST)
    assert active(gateway, user) == [True]


def test_a_learner_may_not_retire_anybody(gateway, retiring):
    for who in (gateway.learner(retiring), gateway.edx, gateway.key("enroll")):
        answer = gateway.post("unenroll/", who, json={"username": retiring})
        assert (answer.status_code, answer.json["code"]) == (403, "not_permitted")
        assert answer.headers["content-type"] == "application/json"
    assert gateway.post("unenroll/", json={"username": retiring}).status_code == 401
    assert active(gateway, retiring) == [True] * 4


@pytest.mark.parametrize("prefer", ["respond-async", "wait=0"])
def test_who_does_not_wait_is_answered_202_with_the_submission(gateway, retiring, prefer):
    headers = {"Prefer": prefer}
    answer = gateway.post("unenroll", gateway.staff, json={"username": retiring}, headers=headers)
    assert answer.status_code == 202
    assert answer.headers["preference-applied"] == prefer
    assert answer.headers["location"].endswith(answer.json["submission_id"])
    assert active(gateway, retiring) == [True] * 4
    gateway.work()
    assert gateway.get(answer.headers["location"], gateway.staff).json["state"] == "done"
    assert active(gateway, retiring) == [False] * 4


def test_a_repeated_key_gets_the_first_answer_again(gateway, retiring):
    headers = {"Idempotency-Key": fresh("key")}
    first = ask(gateway, json={"username": retiring}, headers=headers)
    again = ask(gateway, json={"username": retiring}, headers=headers)
    assert (again.status_code, again.json) == (200, first.json)
    assert again.headers["idempotency-replayed"] == "true"
    assert again.headers["location"] == first.headers["location"]
    other = ask(gateway, json={"username": "another"}, headers=headers)
    assert (other.status_code, other.json["code"]) == (422, "idempotency_key_reused")


def test_a_cancelled_withdrawal_is_409_and_changes_nothing(gateway, retiring):
    headers = {"Idempotency-Key": fresh("key")}
    sent = {"json": {"username": retiring}}
    stored = gateway.post(
        "unenroll", gateway.staff, headers=headers | {"Prefer": "respond-async"}, **sent
    )
    where = stored.headers["location"]
    assert gateway.post(f"{where}/cancel", gateway.staff).status_code == 202
    gateway.work()
    again = ask(gateway, headers=headers, **sent)
    assert (again.status_code, again.json["code"]) == (409, "cancelled")
    assert active(gateway, retiring) == [True] * 4


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        ("[1]", "application/json", 400),
        ("{", "application/json", 400),
        ("x", "text/plain", 415),
    ],
)
def test_a_body_of_another_shape_is_a_problem(gateway, body, content_type, status):
    answer = ask(gateway, body=body, headers={"Content-Type": content_type})
    assert answer.status_code == status
    assert answer.json["message"]
    assert answer.headers["content-type"] == "application/json"


# --- the flag -----------------------------------------------------------------------------


def test_retiring_is_set_by_put_and_shown_by_get(gateway):
    user = fresh("ann")
    for retiring in (True, False):
        body = {"retiring": retiring}
        put = gateway.call("PUT", f"learners/{user}", gateway.admin, json=body)
        assert put.json["retiring"] is retiring
        assert gateway.get(f"learners/{user}", gateway.admin).json == put.json
    gateway.call("PUT", f"learners/{user}", gateway.admin, json={"retiring": True})
    gateway.call("PUT", f"learners/{user}", gateway.admin, json={})
    assert gateway.get(f"learners/{user}", gateway.admin).json["retiring"] is False
    wrong = gateway.call("PUT", f"learners/{user}", gateway.admin, json={"retiring": "yes"})
    assert wrong.status_code == 400
    many = gateway.post("learners", gateway.admin, json=[{"username": user, "retiring": True}])
    assert many.status_code == 200
    assert gateway.get(f"learners/{user}", gateway.admin).json["retiring"] is True
