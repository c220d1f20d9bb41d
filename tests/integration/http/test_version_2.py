"""Version 2 of the API of Open edX: its paths, statuses, names and problems."""

import pytest

from enrollment.domain.model import Mode
from tests.support.gateway import AUDIT, HONOR, ago, fresh
from tests.support.statements import recorded_statements

V2 = "/api/enrollment/v2"
PROBLEM = "application/problem+json"


def post(gateway, who, path="enrollment/", **body):
    headers = {"Prefer": "wait=20"}
    return gateway.answered("POST", f"{V2}/{path}", who, json=body, headers=headers)


def is_problem(answer, status, code):
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == PROBLEM
    assert answer.json["code"] == code
    assert answer.json["detail"] == answer.json["message"]
    return True


# --- POST enrollment/ ---------------------------------------------------------------------


@pytest.mark.parametrize("path", ["enrollment", "enrollment/"])
def test_a_learner_enrolls_as_in_version_1(gateway, path):
    user, course_id = fresh("ann"), gateway.course(AUDIT, name="Algebra")
    asked = {"course_details": {"course_id": course_id}}
    answer = post(gateway, gateway.learner(user), path, **asked)
    assert (answer.status_code, answer.json["user"]) == (200, user)
    assert answer.headers["content-type"] == "application/json"
    assert answer.json["course_details"]["course_name"] == "Algebra"
    assert answer.json == gateway.get(f"enrollment/{user},{course_id}", gateway.edx).json


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({}, 400, "invalid_row"),
        ({"course_id": "no key"}, 400, "invalid_row"),
        ({"course_id": "course-v1:No+Such+One"}, 400, "course_not_found"),
        ({"course_id": "course-v1:No+Such+One", "user": ""}, 404, "learner_not_found"),
        ({"mode": "gold"}, 400, "mode_unavailable"),
        ({"is_active": "perhaps"}, 400, "invalid_row"),
    ],
)
def test_errors_are_problems_of_version_2(gateway, body, status, code):
    sent = {"user": fresh("ann"), "course_id": gateway.course(AUDIT), **body} if body else body
    assert is_problem(post(gateway, gateway.edx, **sent), status, code)


def test_an_unknown_learner_is_404_and_in_version_1_406(gateway):
    body = {"email": f"{fresh('ann')}@example.org", "course_id": gateway.course(AUDIT)}
    answer = post(gateway, gateway.edx, **body)
    assert is_problem(answer, 404, "learner_not_found")
    old = gateway.enroll(gateway.edx, body["course_id"], email=body["email"])
    assert (old.status_code, old.json["message"]) == (406, answer.json["message"])


def test_others_are_404_with_the_same_problem_whether_they_exist(gateway):
    course_id, user = gateway.course(AUDIT), fresh("ann")
    gateway.enroll(gateway.server, course_id, user)
    eve, other = gateway.learner("eve"), fresh("nobody")
    reads = [
        f"enrollments/{user},{course_id}",
        f"enrollment/{user},{course_id}",
        f"enrollments/{other},{course_id}",
        f"enrollments/{user},course-v1:No+Such+One",
        f"enrollments/{user},no-key",
    ]
    answers = [gateway.get(f"{V2}/{path}", eve) for path in reads]
    answers += [post(gateway, eve, user=name, course_id=course_id) for name in (user, other)]
    assert all(is_problem(answer, 404, "not_found") for answer in answers)
    assert len({answer.text for answer in answers}) == 1


# --- GET enrollment/ ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def pupil(gateway):
    """A learner with 12 enrollments, of which the fifth is inactive."""
    user = fresh("pupil")
    course_ids = [gateway.course(AUDIT, name=f"Course {number}") for number in range(12)]
    for number, course_id in enumerate(course_ids):
        gateway.enroll(gateway.server, course_id, user, is_active=number != 4)
    return user, course_ids


def courses_of(results):
    return [row.get("course_id") or row["course_details"]["course_id"] for row in results]


ENVELOPE = ["count", "num_pages", "current_page", "start", "next", "previous", "results"]


def test_a_learner_s_list_has_pages_of_ten_with_inactive_ones_and_details(gateway, pupil):
    user, course_ids = pupil
    own = gateway.learner(user)
    first = gateway.get(f"{V2}/enrollment/", own).json
    assert list(first) == ENVELOPE
    assert courses_of(first["results"]) == course_ids[:10]
    assert [row["is_active"] for row in first["results"]].index(False) == 4
    assert first["results"][3]["course_details"]["course_name"] == "Course 3"
    numbers = {"count": 12, "num_pages": 2, "current_page": 1, "start": 0, "previous": None}
    assert {name: first[name] for name in numbers} == numbers
    assert first["next"].endswith(f"{V2}/enrollment?page=2")
    second = gateway.get(f"{V2}/enrollment?page=2", own).json
    assert courses_of(second["results"]) == course_ids[10:]
    assert (second["current_page"], second["start"], second["next"]) == (2, 10, None)
    assert second["previous"].endswith("?page=1")


@pytest.mark.parametrize("name", ["user", "username"])
@pytest.mark.parametrize("kind", ["edx", "staff", "admin", "read"])
def test_who_may_read_lists_anybody(gateway, pupil, name, kind):
    who = gateway.key("read") if kind == "read" else getattr(gateway, kind)
    query = f"{name}={pupil[0]}&page_size=5&page=2&view=minimal&zzz=1"
    page = gateway.get(f"{V2}/enrollment?{query}", who).json
    assert courses_of(page["results"]) == pupil[1][5:10]
    repeated = {part for part in query.split("&") if not part.startswith(("page=", "zzz"))}
    for link, number in ((page["next"], 3), (page["previous"], 1)):
        assert set(link.partition("?")[2].split("&")) == {*repeated, f"page={number}"}


def test_the_minimal_view_has_course_ids_alone(gateway, pupil):
    page = gateway.get(f"{V2}/enrollment?view=minimal", gateway.learner(pupil[0])).json
    for row in page["results"]:
        assert set(row) == {"created", "mode", "is_active", "user", "course_id"}


@pytest.mark.parametrize("by", ["created", "id"])
def test_the_order_may_be_turned_round(gateway, pupil, by):
    for sign, expected in (("", pupil[1]), ("-", pupil[1][::-1])):
        query = f"ordering={sign}{by}&page_size=100"
        page = gateway.get(f"{V2}/enrollment?{query}", gateway.learner(pupil[0])).json
        assert courses_of(page["results"]) == expected


def test_course_staff_see_their_courses_and_others_an_empty_page(gateway, pupil):
    user, course_ids = pupil
    tutor = fresh("tutor")
    for course_id, role in ((course_ids[4], "staff"), (course_ids[7], "instructor")):
        gateway.call("PUT", f"roles/{course_id}/{tutor}", gateway.admin, json={"role": role})
    gateway.call("PUT", f"roles/{course_ids[1]}/{tutor}", gateway.admin, json={"role": "support"})
    seen = gateway.get(f"{V2}/enrollment?user={user}", gateway.learner(tutor)).json
    assert (seen["count"], courses_of(seen["results"])) == (2, [course_ids[4], course_ids[7]])
    nobody = [
        gateway.get(f"{V2}/enrollment?user={name}", who)
        for name, who in (
            (user, gateway.learner("eve")),
            (fresh("nobody"), gateway.learner("eve")),
            (fresh("nobody"), gateway.admin),
            ("%00", gateway.admin),
            ("", gateway.edx),
            (user, gateway.key("courses")),
        )
    ]
    assert len({answer.text for answer in nobody}) == 1
    empty = {"count": 0, "num_pages": 1, "current_page": 1, "start": 0}
    assert nobody[0].json == {**empty, "next": None, "previous": None, "results": []}


def test_whether_a_learner_exists_makes_no_difference_in_the_work(gateway, pupil):
    work = []
    for name in (pupil[0], fresh("nobody")):
        with recorded_statements(gateway.sessions.engine) as seen:
            answer = gateway.get(f"{V2}/enrollment?user={name}", gateway.learner("eve"))
        # the use of API keys is noted in the background, at any time
        reads = [one for one in seen if one.startswith("SELECT")]
        work.append((reads, answer.text, {*answer.headers} - {"x-request-id"}))
    assert work[0] == work[1]
    assert len(work[0][0]) > 1


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("ordering=mode", 400),
        ("view=maximal", 400),
        ("user=ann&username=bob", 400),
        ("page=0", 404),
        ("page=x", 404),
        ("page=3", 404),
        ("page=99999999999999999999", 404),
        ("page_size=0", 200),
        ("page_size=x", 200),
        ("page_size=1000", 200),
        ("ordering=&view=&page=&user=", 200),
    ],
)
def test_parameters_with_invalid_values(gateway, pupil, query, status):
    answer = gateway.get(f"{V2}/enrollment?{query}", gateway.learner(pupil[0]))
    assert answer.status_code == status, answer.text
    assert status == 200 or is_problem(answer, status, "invalid_parameter")
    if query == "page_size=1000":
        assert len(answer.json["results"]) == 12


# --- one enrollment, one course -----------------------------------------------------------


@pytest.mark.parametrize("path", ["enrollments/{}", "enrollments/{}/", "enrollment/{}"])
def test_one_enrollment_by_either_path(gateway, pupil, path):
    user, course_id = pupil[0], pupil[1][4]
    own = gateway.learner(user)
    expected = gateway.get(f"enrollment/{user},{course_id}", own).json
    for names in (f"{user},{course_id}", f"{user}%2C{course_id.replace('+', '%2B')}", course_id):
        answer = gateway.get(f"{V2}/{path.format(names)}", own)
        assert (answer.status_code, answer.json) == (200, expected)
    empty = gateway.get(f"{V2}/{path.format(f'{user},course-v1:No+Such+One')}", own)
    assert (empty.status_code, empty.content) == (200, b"")
    assert "content-type" not in empty.headers


@pytest.mark.parametrize("key", ["nokey", "course-v1:a+b", "version@5149", "course-v1:v@1"])
def test_a_key_that_cannot_be_parsed_is_404(gateway, key):
    for path in (f"enrollments/ann,{key}", f"enrollment/ann,{key}"):
        assert is_problem(gateway.get(f"{V2}/{path}", gateway.edx), 404, "not_found")
    for path in (f"courses/{key}", f"course/{key}/"):
        assert is_problem(gateway.get(f"{V2}/{path}"), 404, "course_not_found")


@pytest.mark.parametrize("path", ["courses/{}/", "courses/{}", "course/{}"])
def test_course_details_by_either_path(gateway, path):
    late = Mode(slug="verified", expires_at=ago(days=1))
    course_id = gateway.course(HONOR, late)
    url = f"{V2}/{path.format(course_id)}"
    for query, number in (("", 1), ("?include_expired=1", 2), ("?include_expired=0", 1)):
        answer = gateway.get(url + query)
        assert answer.json == gateway.get(f"course/{course_id}{query}").json
        assert len(answer.json["course_modes"]) == number
    again = gateway.get(url, headers={"If-None-Match": gateway.get(url).headers["etag"]})
    assert again.status_code == 304
    unknown = gateway.get(f"{V2}/{path.format('course-v1:No+Such+One')}")
    assert is_problem(unknown, 404, "course_not_found")


# --- roles, unenroll, enrollment_allowed --------------------------------------------------


def test_the_old_name_of_a_course_is_deprecated(gateway):
    user, course_id = fresh("ann"), gateway.course()
    gateway.call("PUT", f"roles/{course_id}/{user}", gateway.admin, json={"role": "staff"})
    own = gateway.learner(user)
    for query, is_old in (
        ("", False),
        (f"?course_key={course_id}", False),
        (f"?course_id={course_id}", True),
        (f"?course_id={course_id}&course_key={course_id}", True),
    ):
        answer = gateway.get(f"{V2}/roles/{query}", own)
        assert [role["course_id"] for role in answer.json["roles"]] == [course_id]
        assert answer.headers.get("deprecation") == ("@1767225600" if is_old else None)
    differ = gateway.get(f"{V2}/roles?course_id=x&course_key={course_id}", own)
    assert is_problem(differ, 400, "invalid_parameter")
    assert is_problem(gateway.get(f"{V2}/roles", gateway.edx), 400, "no_user")


@pytest.mark.parametrize("path", ["enrollment/unenroll/", "unenroll", "unenroll/"])
def test_a_retiring_learner_is_withdrawn(gateway, path):
    user, course_id = gateway.person(is_retiring=True), gateway.course(AUDIT)
    gateway.enroll(gateway.server, course_id, user)
    done = post(gateway, gateway.staff, path, username=user)
    assert (done.status_code, done.json) == (200, ["Uni"])
    assert post(gateway, gateway.staff, path, username=user).status_code == 204
    assert is_problem(post(gateway, gateway.staff, path), 400, "invalid_body")
    stays = post(gateway, gateway.staff, path, username=gateway.person())
    assert is_problem(stays, 404, "not_found")
    refused = post(gateway, gateway.learner(user), path, username=user)
    assert is_problem(refused, 403, "not_permitted")


@pytest.mark.parametrize("path", ["enrollment/enrollment_allowed/", "enrollment_allowed"])
def test_invitations_are_those_of_version_1(gateway, path):
    body = {"email": f"{fresh('guest')}@example.org", "course_id": gateway.course(AUDIT)}
    url = f"{V2}/{path}"
    assert gateway.get(url, gateway.staff).json == []
    made = gateway.post(url, gateway.staff, json=body)
    assert made.status_code == 201
    assert is_problem(gateway.post(url, gateway.staff, json=body), 409, "already_exists")
    listed = gateway.get(f"{url}?email={body['email']}", gateway.staff)
    assert listed.json == [made.json]
    assert gateway.call("DELETE", url, gateway.staff, json=body).status_code == 204
    assert is_problem(gateway.call("DELETE", url, gateway.staff, json=body), 404, "not_found")
    for method in ("GET", "POST", "DELETE"):
        refused = gateway.call(method, url, gateway.learner("eve"), json=body)
        assert is_problem(refused, 403, "not_permitted")


def test_a_wrong_key_is_401_and_a_right_one_or_a_bearer_token_passes(gateway):
    token = gateway.learner("ann")["Authorization"].removeprefix("JWT ")
    for who, status in (
        ({"X-Edx-Api-Key": "wrong"}, 401),
        ({"Authorization": "Bearer wrong"}, 401),
        ({}, 401),
        (gateway.edx, 200),
        ({"Authorization": f"Bearer {token}"}, 200),
    ):
        answer = gateway.get(f"{V2}/enrollment/", who)
        assert answer.status_code == status
        assert status == 200 or is_problem(answer, 401, "not_authenticated")


def test_anonymous_readers_of_course_details_share_the_rate_of_version_1(start):
    gateway = start(throttle="on", throttle_anonymous="3/minute")
    course_id = gateway.course(AUDIT)
    paths = [f"course/{course_id}", f"{V2}/courses/{course_id}", f"{V2}/course/{course_id}"]
    assert [gateway.get(path).status_code for path in paths] == [200] * 3
    assert [gateway.get(path).status_code for path in paths] == [429] * 3
